import { existsSync } from "node:fs";
import path from "node:path";
import { isMainThread } from "node:worker_threads";

import { type ErrorCode, SuperSimpleNetError } from "../errors.js";
import type { NativeBinding } from "./binding.js";

let opened: NativeBinding | undefined;

/** The native engine, opened at the first call. Its errors arrive as SuperSimpleNetError. */
export function engine(): NativeBinding {
  if (opened) return opened;
  const root = path.resolve(__dirname, "../../..");
  const folder = [path.join(root, "build", "Release"), path.join(root, "build-cmake")].find((f) => existsSync(path.join(f, "supersimplenet.node")));
  if (!folder) throw new SuperSimpleNetError("ENGINE_NOT_BUILT", "The native engine is not built. Run 'npm run setup' in the package's folder.");
  const libtorch = path.join(process.env["SUPERSIMPLENET_LIBTORCH"] ?? "", "lib");
  const loader = require(path.join(folder, "supersimplenet.node")) as { load(libraries: string[], engine: string): NativeBinding };
  const native = loader.load(
    ["libgomp.so.1", "libc10.so", "libtorch_cpu.so", "libtorch.so"].map((file) => path.join(libtorch, file)),
    path.join(folder, "supersimplenet_engine.so"),
  );
  // Node runs no environment clean-up hooks on process.exit() of the main thread; a running engine thread would crash there.
  if (isMainThread) process.on("exit", () => native.shutdown());
  opened = translated(native);
  return opened;
}

function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof SuperSimpleNetError) return error;
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" && /^[A-Z_]+$/.test(code) ? new SuperSimpleNetError(code as ErrorCode, error.message, { cause: error }) : error;
}

/** The same object, whose functions, constructors and promises fail with our error class. */
function translated<T extends object>(target: T): T {
  return new Proxy(target, {
    get(object, property) {
      const value: unknown = Reflect.get(object, property, object);
      if (typeof value !== "function") return value;
      return new Proxy(value, {
        apply(callee, _self, args: unknown[]) {
          try {
            const result: unknown = Reflect.apply(callee, object, args);
            return result instanceof Promise ? result.catch((error: unknown) => Promise.reject(translate(error))) : result;
          } catch (error) {
            throw translate(error);
          }
        },
        construct(callee, args: unknown[]) {
          try {
            return translated(Reflect.construct(callee as new () => object, args));
          } catch (error) {
            throw translate(error);
          }
        },
      });
    },
  });
}
