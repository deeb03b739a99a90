export const MaskEditor = (_: {
  image: string;
  mask?: string;
  propose?: () => Promise<Blob>;
  onSave(mask: Blob | undefined): Promise<void>;
}) => <p />;
