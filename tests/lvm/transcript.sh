# `respaldo lvm` says what lvm2 says, exit codes too.
here=$(cd "$(dirname "$0")" && pwd)
export TZ=UTC LC_ALL=C
disks=() images=()
for letter in a b c; do
  truncate -s 200M disk$letter.img _dev_ubd$letter
  disks+=(--disk disk$letter.img)
  images+=(--disk _dev_ubd$letter)
done
guest "$here/transcript_guest.sh" out "${disks[@]}" --module dm-mirror --env "TRANSCRIPT=$here/transcript.txt" --limit 2000

# What cannot be the same: UUIDs, times, hosts, what the kernel adds to volumes that are active, how many commits one
# command takes; how a move goes on; and advice, which stands in parentheses.
plain() {
  sed -E -e 's#_dev_ubd#/dev/ubd#g' \
    -e 's/[A-Za-z0-9]{6}(-[A-Za-z0-9]{4}){5}-[A-Za-z0-9]{6}/UUID/g' \
    -e 's/(LV Creation host, time).*/\1/' -e 's/(Metadata Sequence No).*/\1/' \
    -e 's/([-soVmv][-wr][-inlca]-)a([-o])/\1-\2/' \
    -e 's/^(  \/dev\/[^:]*:[^:]*:[0-9]:)[01](.*):-?[0-9]+:-?[0-9]+$/\1\2/' \
    -e 's/ (ACTIVE  |inactive)/ state   /' \
    -e '/^  (# open  |Block device  |- currently set to)/d' -e 's/^  LV Status .*/  LV Status/' \
    -e '/: Moved: [0-9]{1,2}\.[0-9]{2}%$/d' -e '/^  \(.*\)$/d' -e 's/[[:space:]]+$//'
}
export RESPALDO
run="\"\$RESPALDO\" ${images[*]} lvm"
while IFS= read -r line; do
  case "$line" in
    "#"* | "!"*) ;;
    *)
      printf '$ %s\n' "$line"
      status=0
      sh -c "$run ${line//\/dev\/ubd/_dev_ubd}" </dev/null 2>&1 || status=$?
      [ $status = 0 ] || echo "($status)"
      ;;
  esac
done <"$here/transcript.txt" >said
diff -u <(plain <out/said) <(plain <said)
