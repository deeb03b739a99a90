/** File names for the pictures of images whose own names may repeat between folders: each call gives a new one. */
export function pictureNames(): (id: string, extension: string) => string {
  const taken = new Set<string>();
  return (id, extension) => {
    const base = id.replace(/^([a-z]:)?[/\\.]+/i, "").replace(/\.[^./\\]+$/, "").replace(/[^\w.-]+/g, "_") || "image";
    let name = `${base}${extension}`;
    for (let copy = 2; taken.has(name.toLowerCase()); copy++) name = `${base}-${copy}${extension}`;
    taken.add(name.toLowerCase());
    return name;
  };
}
