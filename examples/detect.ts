/** Looks for defects: node dist/examples/detect.js bottle.safetensors part1.png part2.png */
import { Detector, SuperSimpleNetError } from "../lib/index.js";

async function main([file, ...images]: string[]): Promise<void> {
  if (!file || images.length === 0) throw new Error("usage: detect.js MODEL IMAGE...");
  const detector = await Detector.load(file, { minAreaPx: 20 });
  for await (const { path, score, anomalous, regions } of detector.detectEach(images)) {
    console.log(path, anomalous ? "defect" : "good", score.toFixed(3));
    for (const { x, y, width, height, area, peak } of regions)
      console.log(`  ${width}x${height} at ${x},${y}: ${area} px, peak ${peak.toFixed(2)}`);
  }
  detector.dispose();
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof SuperSimpleNetError ? `${error.code}: ${error.message}` : error);
  process.exitCode = 1;
});
