#!/usr/bin/env bash
# Everything that wants a GPU, in one go: builds the CUDA engine, runs the tests on the GPU, the kernels under compute-sanitizer
# where there is one, and the benchmarks. Needs dist/ and node_modules/ (from a machine with npm), Node, CMake, nvcc, a CUDA
# libtorch, and for the benchmarks beside PyTorch a Python that has it. A step that fails does not stop the others.
#   scripts/gpu.sh --out DIR [--only build,tests,sanitizer,latency,throughput,training,epochs] [--epochs 300]
# Environment: SUPERSIMPLENET_LIBTORCH_CUDA (default: the torch of $PYTHON), NODE_INCLUDE_DIR (node_api.h; default: node-api-headers), PYTHON (python3),
# CUDA_ARCHITECTURES (native: the GPUs of this machine).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3} out="" only=build,tests,sanitizer,latency,throughput,training,epochs epochs=300
while (($#)); do
  case $1 in
    --out) out=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --epochs) epochs=$2; shift 2 ;;
    *) sed -n '2,7p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
[[ -n $out ]] || { echo "--out DIR is needed" >&2; exit 2; }
mkdir -p "$out" && out=$(cd "$out" && pwd)
export SUPERSIMPLENET_LIBTORCH_CUDA=${SUPERSIMPLENET_LIBTORCH_CUDA:-$($python -c 'import torch; print(torch.__path__[0])')} SUPERSIMPLENET_ENGINE=cuda
failed=0

wanted() { [[ ,$only, == *,$1,* ]]; }
# step NAME FILE COMMAND...: stdout to FILE, stderr to NAME.log, one line in summary.txt.
step() {
  local name=$1 file=$2 start=$SECONDS; shift 2
  if "$@" > "$out/$file" 2> "$out/$name.log"; then local state=ok; else local state="FAILED ($?)"; failed=1; fi
  echo "$name: $state, $((SECONDS - start)) s" | tee -a "$out/summary.txt"
}
benchmark() { local name=$1; shift; step "$name" "$name.json" "$@"; }
pytorch() { local name=$1; shift; benchmark "$name" node --expose-gc dist/benchmarks/pytorch.js "$@" --device cuda --python "$python" --threads 8; }

build() {
  cmake -S . -B build-cuda -DSUPERSIMPLENET_CUDA=ON -DSUPERSIMPLENET_LIBTORCH="$SUPERSIMPLENET_LIBTORCH_CUDA" -DCMAKE_CUDA_ARCHITECTURES="${CUDA_ARCHITECTURES:-native}" \
    ${NODE_INCLUDE_DIR:+-DNODE_INCLUDE_DIR="$NODE_INCLUDE_DIR"} && cmake --build build-cuda --parallel
}
machine() {
  nvidia-smi; nvcc --version; node --version; cmake --version; $python -c 'import torch; print("torch", torch.__version__, torch.version.cuda, torch.cuda.get_device_name(0))'
}

step machine machine.txt machine
wanted build && step build build.txt build
if wanted tests; then
  status='const { engine } = require("./dist/lib/native/engine.js"); console.log(JSON.stringify({ versions: engine().versions(), devices: engine().devices(), cuda: engine().cudaStatus() }, null, 2)); process.exit(engine().devices().length > 1 ? 0 : 1);'
  step status status.json node -e "$status"
  files=(dist/test/golden/*.test.js dist/test/training/oracle.test.js dist/test/detection/kernels.test.js dist/test/anomalies/latent_noise.test.js dist/test/native/cuda.test.js)
  step tests tests.txt node --test --test-concurrency=1 --test-reporter=spec "${files[@]}"
fi
if wanted sanitizer; then
  if command -v compute-sanitizer > /dev/null; then
    for tool in memcheck racecheck initcheck; do
      step "$tool" "$tool.txt" compute-sanitizer --tool "$tool" --error-exitcode 1 node dist/test/detection/kernels.test.js
    done
    step memcheck-training memcheck-training.txt compute-sanitizer --tool memcheck --error-exitcode 1 node --test-name-pattern 'batch of one, cuda' dist/test/training/oracle.test.js
  else
    echo "sanitizer: no compute-sanitizer on the PATH" | tee -a "$out/summary.txt"
  fi
fi
# The paper's protocol: copies inside the clock, 1000 calls after a warm-up, 5 cycles.
if wanted latency; then
  for precision in float16 bfloat16 float32; do pytorch "latency-$precision" inference wide_resnet50_2 --batch 1 --precision $precision --calls 1000 --compile; done
fi
if wanted throughput; then
  for batch in 16 64; do pytorch "batch-$batch-float16" inference wide_resnet50_2 --batch $batch --precision float16 --calls 50 --compile; done
fi
if wanted training; then
  for precision in float32 tf32 bfloat16; do pytorch "training-$precision" training wide_resnet50_2 --batch 32 --precision $precision --calls 1; done
fi
if wanted epochs; then
  for precision in bfloat16 float32; do benchmark "epochs-$precision" node dist/benchmarks/epochs.js --device cuda --precision $precision --epochs "$epochs"; done
fi
exit $failed
