/**
 * Makes a data set, opens it again and prints what is in it.
 *
 *     node dist/examples/data.js plates
 */
import { applyRegime, inferRegime } from "../lib/datasets/regime.js";
import { datasets } from "../lib/datasets/index.js";

async function main(root = "plates"): Promise<void> {
  await datasets.generated(root, {
    trainNormal: 24,
    trainAnomalous: 10,
    trainSegmented: 4,
    testNormal: 8,
    testAnomalous: 10,
  });

  const data = await datasets.open(root);
  const { regime, counts, warnings } = await datasets.validate(data, { imageSize: [256, 256] });
  console.log(regime, counts, warnings); // mixed { trainNormal: 24, trainAnomalous: 10, trainSegmented: 4, ... } []

  console.log(inferRegime(applyRegime(data, "weak"))); // weak
}

main(process.argv[2]).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
