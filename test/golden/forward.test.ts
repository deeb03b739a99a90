import path from "node:path";

import {
  type Convention,
  type Source,
  computes,
  config,
  conventions,
  formulaSource,
  testOnDevices,
  vectorSource,
} from "./cases.js";
import { assertClose, numbers } from "./compare.js";
import { skip } from "./vectors.js";
import { testing } from "../support/native.js";

const shared = path.resolve(__dirname, "../../../../shared");

function forwardTests(source: Source, skipReason: string | false): void {
  for (const [height, width] of [
    [64, 64],
    [96, 64],
  ] as const) {
    for (const convention of Object.keys(conventions) as Convention[]) {
      for (const compute of computes) {
        testOnDevices(
          `forward ${source.name} ${height}x${width} ${convention} ${compute} equals the authors' code`,
          { skip: skipReason },
          async (device) => {
            const { backbone, heads } = await source.weights();
            const prefix = `forward/${height}x${width}`;
            const input = source.input(`${prefix}/input`, [2, 3, height, width]);
            const result = await testing().forward(
              config(convention, compute, height, width, device),
              backbone,
              heads,
              input,
            );
            const expected = (name: string) => source.tensor(`${prefix}/${convention}/${name}`);
            assertClose(numbers(result.mapLogits), numbers(expected("map_logits")), 1e-4, "map");
            assertClose(numbers(result.scoreLogit), numbers(expected("score_logit")), 1e-4, "score");
            if (source.has(`${prefix}/${convention}/anomaly_map`))
              assertClose(numbers(result.anomalyMap), numbers(expected("anomaly_map")), 1e-4, "anomaly map");
            if (source.has(`${prefix}/${convention}/features_sum_per_channel`)) {
              const [images, channels, h, w] = result.features.shape as [number, number, number, number];
              const sums = new Float64Array(channels);
              const values = numbers(result.features);
              for (let i = 0; i < images; i++)
                for (let c = 0; c < channels; c++)
                  for (let p = 0; p < h * w; p++) sums[c]! += values[(i * channels + c) * h * w + p]!;
              assertClose(sums, numbers(expected("features_sum_per_channel")), 1e-4, "features");
            }
          },
        );
      }
    }
  }
}

forwardTests(formulaSource, false);
forwardTests(vectorSource(shared), skip);
