#!/usr/bin/env bash
# All that a GPU is asked, most valuable first, within LIMIT seconds: is it right, how fast, and a real training.
#
#   make gpu-check                       with the recordings in $KDBENCH_DATA, or in packed/ (kdbench data pack)
#   DEVICE=cpu SIZE=smoke DATA=motionsim bash benchmarks/gpu/check.sh      to try it without a GPU
#
# It writes log.txt, figures.jsonl and a log per step into OUT as it goes: what is there when the machine is taken away
# is worth having. Wheels in .whl/ (`pip download`) are installed beside the checkout where there is no network.
set -u
cd "$(dirname "$0")/../.." || exit 1
DEVICE=${DEVICE:-cuda} SIZE=${SIZE:-paper} DATA=${DATA:-utd_mhad} LIMIT=${LIMIT:-570} PY=${PY:-python3}
W=$(mktemp -d); OUT=${OUT:-gpu-check}; mkdir -p "$OUT/steps"; FIGURES=$OUT/figures.jsonl; : >"$FIGURES"
exec > >(tee "$OUT/log.txt") 2>&1
export PYTHONUNBUFFERED=1 KDBENCH_TRACKING=off KDBENCH_CACHE=${KDBENCH_CACHE:-$W/cache} KDBENCH_HOME=$W/runs HF_HUB_OFFLINE=1
[ "$DATA" = motionsim ] || [ ! -d packed ] || export KDBENCH_DATA=$PWD/packed
[ "$DEVICE" = cuda ] && nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm --format=csv,noheader
if compgen -G ".whl/*.whl" >/dev/null; then
  $PY -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$W/site" .whl/*.whl || exit 1
fi
export PYTHONPATH=$W/site:$PWD
K="$PY -m kdbench"; failed=0

# step NAME SECONDS LINES COMMAND…: never past its own limit nor past LIMIT; its last lines are shown, all is kept.
step() {
  local name=$1 most=$2 lines=$3 began=$SECONDS left=$((LIMIT - SECONDS)) code; shift 3
  [ $left -lt 8 ] && { echo "== $name: no time left"; return; }
  timeout -k 3 $((most < left ? most : left)) "$@" >"$OUT/steps/$name.txt" 2>&1; code=$?
  # Out of time is no failure: the next call has more.
  [ $code -eq 0 ] || [ $code -eq 124 ] || [ $code -eq 137 ] || failed=1
  echo "== $name: exit $code, $((SECONDS - began)) s, at $SECONDS s"; tail -n "$lines" "$OUT/steps/$name.txt"
}

# The data in the background, while the card is asked what it can do.
(nice -n 5 $K data prepare "$DATA" --preset "$SIZE"; nice -n 5 $K data prepare "$DATA" --preset small) \
  >"$OUT/steps/prepare.txt" 2>&1 & prepared=$!
step ceilings 40 1 $PY benchmarks/gpu/ceilings.py "$DEVICE"
tail -1 "$OUT/steps/ceilings.txt" >>"$FIGURES"
RATE=$(tail -1 "$FIGURES" | $PY -c 'import json,sys; print(sorted(json.load(sys.stdin)["bf16_tflops"])[1])' 2>/dev/null || echo 0)
# Is it right: every loss and part on both devices, then the tests that need a GPU.
$PY -c 'from kdbench.registry import registry; print(*[n for n in registry("loss").names() if ":" not in n], sep="\n")' >"$W/losses"
step losses 90 14 xargs -a "$W/losses" -P "${JOBS:-6}" -n 6 $K check --kind loss --device "$DEVICE"
step parts 60 14 $K check encoders fusions poolings representations --device "$DEVICE"
[ "$DEVICE" = cuda ] && step tests 170 15 $PY -m pytest -q -m gpu -p no:cacheprovider -n 8 --maxfail 30 tests/gpu -k "not compile"
wait $prepared; tail -2 "$OUT/steps/prepare.txt"; echo "data ready at $SECONDS s"
# How fast: bf16 first, with the kernels of two steps; then what it is compared with.
S="$PY benchmarks/gpu/steps.py --dataset $DATA --preset $SIZE --device $DEVICE --rate $RATE --out $FIGURES"
step bf16 60 60 $S --variants bf16 --profile
step others 90 8 $S --variants fp32,plain,tf32
# A real training: small, then some epochs at the size asked for; each with its own teacher.
step small 90 14 $K run --method sgm_ft --dataset "$DATA" --preset small --device "$DEVICE"
AT="--preset $SIZE --device $DEVICE --set semantics.name=hash"
[ "$SIZE" = paper ] && AT="$AT --set teacher.encoder.weights=random --set student.encoder.weights=random --set teacher.train.epochs=12 --set student.train.epochs=${EPOCHS:-5}"
[ "$DEVICE" = cuda ] && AT="$AT --precision bf16"
step at_size 150 14 $K run --method sgm_ft --dataset "$DATA" $AT
# Compiled, alone, since it may take all that is left; then the losses.
step compiled 120 6 $S --variants compiled
[ "$DEVICE" = cuda ] && step compile_tests 60 8 $PY -m pytest -q -m gpu -p no:cacheprovider -n 3 tests/gpu -k "compile"
step zoo 60 70 $PY benchmarks/loss_speed.py --device "$DEVICE" --rounds 5 --only zoo
step rivals 45 24 $PY benchmarks/loss_speed.py --device "$DEVICE" --rounds 5 --only rivals
for run in "$W"/runs/sgm_ft-*/run.json; do
  [ -f "$run" ] && $PY -c '
import json, sys
run = json.load(open(sys.argv[1]))
at = {key: (run[key] or {}).get("accuracy") for key in ("metrics", "teacher")}
print(json.dumps({"run": run["method"], "preset": run["preset"], "status": run["status"], **at, "cost": run["cost"]}))
' "$run" | tee -a "$FIGURES"
done
echo "== all: $SECONDS s, in $OUT"
exit $failed
