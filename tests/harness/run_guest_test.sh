# The wrapper tells how a guest ended, and leaves no process and no folder behind.
status_of() { # script text, options...
  echo "$1" >script.sh
  shift
  local status=0
  "$HARNESS/run_guest" script.sh --out out "$@" >log 2>&1 || status=$?
  echo $status
}
is() { [ "$2" = "$3" ] || { echo "$1: expected $3, not $2" && cat log && exit 1; }; }

export TMPDIR=$PWD/private
mkdir private
# Among the processes that run_guest looks at, one whose name the kernel cuts in the middle of a character.
cp "$(command -v sleep)" fourteen-bytesé
./fourteen-bytesé 1000 &
cut=$!
trap "kill $cut" EXIT
is "a script's own status comes back" "$(status_of 'exit 7')" 7
grep -q "exit 7" log
is "a failing command ends the script" "$(status_of 'false; exit 0')" 1
is "values reach the script" "$(status_of '[ "$WORD" = "two words, quoted" ]' --env 'WORD=two words, quoted')" 0
is "a panic is a crash" "$(status_of 'echo c >/proc/sysrq-trigger')" 254
grep -q "crashed" log
is "a guest that hangs is ended" "$(status_of 'sleep 1000' --limit 8)" 254
grep -q "did not finish within 8 s" log
is "a power cut happens when it is asked for" "$(status_of 'touch now; sleep 1000' --cut-when now)" 0
is "a power cut that was never reached fails" "$(status_of 'exit 0' --cut-when now)" 254
is "an unknown module is an error" "$(status_of 'exit 0' --module no-such-module)" 253

truncate -s 8M 'a disk, with blanks.img'
is "a disk of any name" "$(status_of 'echo written | dd of=/dev/ubda conv=fsync' --disk 'a disk, with blanks.img')" 0
grep -q written 'a disk, with blanks.img'

kill -0 $cut # it was there all the while
[ -z "$(ls private)" ] || { echo "left behind: $(ls private)" && exit 1; }
