# Words of the host's scripts (sourced by `scenario` before them). They run in a folder of their own; $RESPALDO is the
# program, $HARNESS this folder.

# guest SCRIPT OUT OPTIONS...: a guest's run (see run_guest) of a script of the harness' caller.
guest() {
  local script=$1 out=$2
  shift 2
  "$HARNESS/run_guest" "$script" --out "$out" "$@"
}
