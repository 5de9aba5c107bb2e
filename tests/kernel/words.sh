# Words of the live scenarios (sourced by the guest's scripts).
export RESPALDO_STATE=/run/respaldo RESPALDO_PASSWORD=secret RESTIC_PASSWORD=secret TMPDIR=/run
export RESPALDO_REPOSITORY="$OUT/repo"

# expect CODE COMMAND...: runs it; its exit code must be CODE. What it says goes to $OUT/said as well.
expect() {
  code=$1
  shift
  status=0
  "$@" >/run/stdout 2>/run/stderr || status=$?
  cat /run/stdout /run/stderr >>"$OUT/said"
  cat /run/stdout /run/stderr
  [ $status = "$code" ] || { echo "exit code $status, not $code: $*" >&2; return 1; }
}
says() { grep -q -e "$1" /run/stdout /run/stderr || { echo "not said: $1" >&2; return 1; }; }

# Nothing of ours is in the system.
nothing_left() {
  ! lvs --noheadings -o lv_name,lv_tags | grep -e 'respaldo_owner_' -e ' respaldo_[0-9a-f]' || return 1
  ! ls /dev/mapper | grep respaldo_ || return 1
  [ -z "$(ls "$RESPALDO_STATE/journal" 2>/dev/null)" ] || { ls "$RESPALDO_STATE/journal"; return 1; }
}
backups() { "$RESPALDO" --json list | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))'; }

# hold POINT COMMAND...: starts it in the background ($held is its process) and waits until it has come to that point;
# release lets it go on and waits for its end ($status).
hold() {
  rm -f /run/hold
  RESPALDO_HOLD_AT=$1 RESPALDO_HOLD_FILE=/run/hold
  export RESPALDO_HOLD_AT RESPALDO_HOLD_FILE
  shift
  "$@" >/run/stdout 2>/run/stderr &
  held=$!
  unset RESPALDO_HOLD_AT RESPALDO_HOLD_FILE
  while [ ! -e /run/hold ]; do
    kill -0 $held 2>/dev/null || { cat /run/stdout /run/stderr; return 1; }
    sleep 0.2
  done
}
release() {
  rm -f /run/hold
  status=0
  wait $held || status=$?
  cat /run/stdout /run/stderr | tee -a "$OUT/said"
}
