#!/usr/bin/env bash
# Everything that wants a GPU: builds the CUDA engine, runs the tests on the GPU, the benchmarks, and the kernels under
# compute-sanitizer where there is one. Needs dist/ and node_modules/ (from a machine with npm), Node, CMake, nvcc, a CUDA
# libtorch, and for the benchmarks beside PyTorch a Python that has it.
#   scripts/gpu.sh --out DIR [--only build,tests,latency,training,epochs,throughput,precisions,quickstart,compile,sanitizer] [--seconds 3600] [--epochs 300]
# A step that fails, hangs or has no time left does not stop the others; --seconds ends all of them. DIR has a line for each step in
# summary.txt, and everything in results.tgz.
# Environment: SUPERSIMPLENET_LIBTORCH_CUDA (default: the torch of $PYTHON), NODE_INCLUDE_DIR (node_api.h; default: node-api-headers), PYTHON (python3),
# CUDA_ARCHITECTURES (default: of the first GPU).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3} out="" only=build,tests,latency,training,epochs,throughput,precisions,quickstart,compile,sanitizer seconds=3600 epochs=300
while (($#)); do
  case $1 in
    --out) out=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --epochs) epochs=$2; shift 2 ;;
    *) sed -n '2,10p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done
[[ -n $out ]] || { echo "--out DIR is needed" >&2; exit 2; }
mkdir -p "$out" && out=$(cd "$out" && pwd)
export SUPERSIMPLENET_LIBTORCH_CUDA=${SUPERSIMPLENET_LIBTORCH_CUDA:-$($python -c 'import torch; print(torch.__path__[0])')} SUPERSIMPLENET_ENGINE=cuda python
failed=0 deadline=$((SECONDS + seconds))

wanted() { [[ ,$only, == *,$1,* ]]; }
# step NAME LIMIT FILE COMMAND...: at most LIMIT seconds; stdout to FILE, stderr to NAME.log.
step() {
  local name=$1 limit=$2 file=$3 start=$SECONDS left=$((deadline - SECONDS)) state; shift 3
  if ((left < 15)); then
    state="SKIPPED, no time left"; failed=1
  else
    timeout -k 10 $((limit < left ? limit : left)) "$@" > "$out/$file" 2> "$out/$name.log"
    case $? in
      0) state=ok ;;
      124 | 137) state="ENDED after its time"; failed=1 ;;
      *) state="FAILED"; failed=1; tail -n 15 "$out/$name.log" ;;
    esac
  fi
  echo "$name: $state, $((SECONDS - start)) s $(figures "$out/$file")" | tee -a "$out/summary.txt"
  tar -C "$out" --exclude=results.tgz -czf "$out/results.tgz" .
}
# The figures of a benchmark's result on one line; how many tests ran.
figures() {
  [[ $1 == */test-*.txt ]] && grep -E '^(ℹ|#) (pass|fail) ' "$1" | tr '\n' ' '
  [[ $1 == *.json && -s $1 ]] || return 0
  node -e 'const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")); const short = {};
    for (const [name, { clock }] of Object.entries(r.results ?? {})) short[name] = clock.medianMs;
    for (const name of ["totalSeconds", "medianEpochSeconds", "peakGpuBytes", "memory", "relativeDifference"]) if (r[name] !== undefined) short[name] = r[name];
    console.log(JSON.stringify(short));' "$1" 2> /dev/null || true
}
benchmark() { local name=$1 limit=$2; shift 2; step "$name" "$limit" "$name.json" "$@"; }
pytorch() { local name=$1 limit=$2; shift 2; benchmark "$name" "$limit" node --expose-gc dist/benchmarks/pytorch.js "$@" --device cuda --python "$python" --threads 8; }

# As text, because `timeout` starts no function of this shell.
machine='nvidia-smi; nvcc --version; node --version; cmake --version; $python -c "import torch; print(\"torch\", torch.__version__, torch.version.cuda, torch.cuda.get_device_name(0))"'
build='architecture=${CUDA_ARCHITECTURES:-$($python -c "import torch; print(\"%d%d-real\" % torch.cuda.get_device_capability(0))")}
  cmake -S . -B build-cuda $(command -v ninja > /dev/null && echo -G Ninja) -DSUPERSIMPLENET_CUDA=ON -DSUPERSIMPLENET_LIBTORCH="$SUPERSIMPLENET_LIBTORCH_CUDA" -DCMAKE_CUDA_ARCHITECTURES="$architecture" \
    ${NODE_INCLUDE_DIR:+-DNODE_INCLUDE_DIR="$NODE_INCLUDE_DIR"} && cmake --build build-cuda --parallel "$(nproc)"'

# For awk: fails unless some test has passed.
export ran='{ print } /^(ℹ|#) pass [1-9]/ { ran = 1 } END { exit !ran }'
# The tests of a file whose names have a GPU in them.
onGpu='set -o pipefail; node --test --test-timeout=60000 --test-reporter=spec --test-name-pattern="cuda:" "dist/test/$0.test.js" | awk "$ran"'
step machine 60 machine.txt bash -c "$machine"
wanted build && step build 480 build.txt bash -c "$build"
if wanted tests; then
  status='const { engine } = require("./dist/lib/native/engine.js"); console.log(JSON.stringify({ versions: engine().versions(), devices: engine().devices(), cuda: engine().cudaStatus() }, null, 2)); process.exit(engine().devices().length > 1 ? 0 : 1);'
  step status 120 status.json node -e "$status"
  # On the GPU alone: what these files test on the CPU is tested elsewhere.
  for file in detection/kernels training/device golden/forward golden/inference golden/step golden/backbones training/oracle anomalies/perlin anomalies/latent_noise training/distributed lifetime/memory; do
    step "test-${file//\//-}" 150 "test-${file//\//-}.txt" bash -c "$onGpu" "$file"
  done
fi
# The paper's protocol: copies inside the clock, 1000 calls after a warm-up, 5 cycles.
wanted latency && pytorch latency-float16 150 inference wide_resnet50_2 --batch 1 --precision float16 --calls 1000
wanted training && pytorch training-bfloat16 150 training wide_resnet50_2 --batch 32 --precision bfloat16 --calls 10
wanted epochs && benchmark epochs-bfloat16 400 node dist/benchmarks/time_to_model.js --device cuda --calibration none --precision bfloat16 --epochs "$epochs"
if wanted throughput; then
  for batch in 16 64; do pytorch "batch-$batch-float16" 150 inference wide_resnet50_2 --batch $batch --precision float16 --calls 50; done
fi
if wanted precisions; then
  for precision in bfloat16 float32 tf32; do pytorch "latency-$precision" 150 inference wide_resnet50_2 --batch 1 --precision $precision --calls 500; done
  for precision in tf32 float32; do pytorch "training-$precision" 150 training wide_resnet50_2 --batch 32 --precision $precision --calls 10; done
  benchmark epochs-float32 400 node dist/benchmarks/time_to_model.js --device cuda --calibration none --precision float32 --epochs "$epochs"
fi
wanted quickstart && step quickstart 300 quickstart.json node dist/lib/cli/main.js quickstart --device cuda --out "$out/quickstart" --json
if wanted compile; then
  pytorch compile-1-float16 400 inference wide_resnet50_2 --batch 1 --precision float16 --calls 200 --compile
  pytorch compile-16-float16 400 inference wide_resnet50_2 --batch 16 --precision float16 --calls 50 --compile
fi
if wanted sanitizer; then
  if command -v compute-sanitizer > /dev/null; then
    # Our kernels only: libtorch's are many, and slow under it. Without libtorch's cache, which would hide what lies past a tensor's end, but
    # for what records graphs, which needs it.
    sanitized='set -o pipefail; compute-sanitizer --error-exitcode 1 --kernel-name kernel_substring=runReduceRows $2 --tool $1 node --test-name-pattern="$3" "dist/test/$0.test.js" | awk "$ran"'
    all="--kernel-name kernel_substring=runForEach"
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    step memcheck-detection 200 memcheck-detection.txt bash -c "$sanitized" detection/kernels memcheck "$all" 'cuda.*equal the loops'
    step memcheck-step 200 memcheck-step.txt bash -c "$sanitized" training/oracle memcheck "$all" 'batch of one, cuda'
    for name in perlin latent_noise; do step "memcheck-$name" 100 "memcheck-$name.txt" bash -c "$sanitized" "anomalies/$name" memcheck "$all" 'bit for bit, cuda'; done
    unset PYTORCH_NO_CUDA_MEMORY_CACHING
    step memcheck-training 200 memcheck-training.txt bash -c "$sanitized" training/device memcheck "$all" 'cuda:[0-9]+, Perlin masks'
    step racecheck 200 racecheck.txt bash -c "$sanitized" training/oracle racecheck "" 'batch of one, cuda'
  else
    echo "sanitizer: no compute-sanitizer on the PATH" | tee -a "$out/summary.txt"
  fi
fi
exit $failed
