# COW stores go back and forth between the kernel and us: each reads what the other wrote, and goes on with it.
truncate -s 32M origin.img
truncate -s 24M one.img
truncate -s 28M two.img
dd if=/dev/urandom of=origin.img bs=1M count=32 conv=notrunc status=none
here=$(cd "$(dirname "$0")" && pwd)
step() { # NAME FOLDER
  guest "$here/snapshot_guest.sh" "$2" --env "STEP=$1" --disk origin.img --disk one.img --disk two.img
}
sum_of() { "$DM_TOOL" "$@" | sha256sum | cut -d' ' -f1; }
ours_is() { # FOLDER: what we read is what the kernel read there
  grep -qx "origin $(sha256sum <origin.img | cut -d' ' -f1)" "$1/sums"
  for name in one two; do
    grep -qx "$name $(sum_of snapshot origin.img $name.img)" "$1/sums" || { echo "$name differs in $1" && exit 1; }
    "$DM_TOOL" status $name.img | diff - "$1/status.$name"
  done
}
step write first
ours_is first

"$DM_TOOL" write 1 60 origin.img one.img two.img
step look second
ours_is second
step write third
ours_is third
"$DM_TOOL" write 2 60 origin.img one.img two.img

# The same merge, by the kernel and by us.
for name in origin one two; do cp $name.img $name.before; done
shown=$(sum_of snapshot origin.img one.img)
two=$(sum_of snapshot origin.img two.img)
step merge fourth
[ "$(cat fourth/merged)" = "$shown" ]
"$DM_TOOL" merge origin.before one.before
[ "$(sha256sum <origin.before | cut -d' ' -f1)" = "$shown" ]
"$DM_TOOL" status one.img | diff - <("$DM_TOOL" status one.before)
# The kernel copied what the merge overwrote to the other snapshot.
[ "$(sum_of snapshot origin.img two.img)" = "$two" ]

# Overflow: what either of us gives up, the other does not read either.
truncate -s 1M small.img
cp small.img small2.img
cp small.img one.img
step overflow fifth
grep -qx Invalid fifth/status.one
[ "$("$DM_TOOL" status one.img)" = Invalid ]
if "$DM_TOOL" snapshot origin.img one.img >/dev/null 2>message; then exit 1; fi
grep -q "overflowed" message
cp small2.img one.img
"$DM_TOOL" write 3 60 origin.img one.img two.img 2>/dev/null || true
[ "$("$DM_TOOL" status one.img)" = Invalid ]
step look sixth
grep -qx Invalid sixth/status.one
grep -qx "one unreadable" sixth/sums
grep -qx "two $(sum_of snapshot origin.img two.img)" sixth/sums
