# SIGKILL at each step: the next run, or `clean`, leaves no snapshot and no mount, and the next backup is whole.
. "${GUEST%/*}/words.sh"
vgcreate -qq vg0 $DISKS
lvcreate -qq -n root -L 16M vg0
mke2fs -q -t ext4 /dev/vg0/root
quick_init
lvcreate -qq -s -n by-hand -L 4M --addtag respaldo_manual vg0/root # nobody's leftover
dies_at() {
  export RESPALDO_CRASH_AT="$1"
  expect 137 "$RESPALDO" backup vg0/root
  unset RESPALDO_CRASH_AT
}
number=0
for step in "intent written" "snapshot made" "snapshot open" "volume read" "before the snapshot goes" "snapshot gone" \
            "intent undone" "intent ended" "before the backup is listed"; do
  number=$((number + 1))
  dies_at "$step"
  [ "$(backups)" = $((number - 1)) ]
  if [ $((number % 2)) = 0 ]; then # clean, or the next backup itself
    [ $number != 2 ] || expect 0 "$RESPALDO" clean --dry-run
    expect 0 "$RESPALDO" clean
    nothing_left
  fi
  expect 0 "$RESPALDO" backup vg0/root
  nothing_left
done
# Without a journal the tags are enough.
dies_at "volume read"
rm -rf $RESPALDO_STATE
expect 0 "$RESPALDO" clean
says "removed snapshot vg0/respaldo_"
nothing_left
# What lost its tags while `clean` looked is nobody's leftover any more.
dies_at "volume read"
left=$(lvs --noheadings -o lv_full_name -S 'lv_tags={respaldo}' | tr -d ' ')
hold "leftovers found" "$RESPALDO" clean
lvchange -qq $(lvs --noheadings -o lv_tags "$left" | tr -d ' ' | sed 's/^/--deltag /; s/,/ --deltag /g') "$left"
release
[ $status = 0 ]
lvremove -qq -y "$left"
nothing_left
# A snapshot by hand never costs the one that has its name.
expect 0 "$RESPALDO" snapshot create vg0/root -n before --size 4M
lvs --noheadings -o lv_uuid vg0/before >/run/before
expect 1 "$RESPALDO" snapshot create vg0/root -n before --size 4M
says "there is a volume vg0/before already"
lvs --noheadings -o lv_uuid vg0/before | cmp - /run/before
lvremove -qq -y vg0/before
# A stop by signal takes everything with it.
hold "snapshot open" "$RESPALDO" backup vg0/root
kill -TERM $held
release
[ $status = 130 ]
nothing_left
lvs vg0/by-hand
grep ' /run/' /proc/self/mountinfo | grep -c respaldo | grep -x 0
