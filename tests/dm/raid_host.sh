# Every array of raid_guest.sh is read the same, with all legs and with each that its level can spare missing.
leg() { # LEVEL-NUMBER DISK
  dd if="disk$2.img" of="leg$1$2" bs=4M skip="$1" count=1 status=none
  echo "leg$1$2"
}
is_array() { # NUMBER WORDS...
  local number=$1 sum
  shift
  sum=$("$DM_TOOL" raid "$@" | sha256sum | cut -d' ' -f1)
  grep -q "^$sum  *- array$number\$" out/sums || { echo "array $number differs: $*"; exit 1; }
}
# check NUMBER LEVEL CHUNK SECTORS LEGS SPARE
check() {
  local number=$1 level=$2 chunk=$3 sectors=$4 count=$5 spare=$6 legs=() i j
  for ((i = 0; i < count; ++i)); do legs+=("$(leg "$number" $i)"); done
  is_array "$number" "$level" "$chunk" "$sectors" "${legs[@]}"
  for ((i = 0; i < count && spare > 0; ++i)); do
    local without=("${legs[@]}")
    without[i]=-
    is_array "$number" "$level" "$chunk" "$sectors" "${without[@]}"
    for ((j = i + 1; j < count && spare > 1; ++j)); do
      local two=("${without[@]}")
      two[j]=-
      is_array "$number" "$level" "$chunk" "$sectors" "${two[@]}"
    done
  done
}
check 0 raid1 0 8192 2 1
check 1 raid4 128 24576 4 1
check 2 raid5_ls 128 24576 4 1
check 3 raid5_n 128 24576 4 1
check 4 raid6_zr 128 32768 6 2
check 5 raid10 128 16384 4 1

# The leg that failed is stale: only the superblocks tell.
words=()
for i in 0 1 2; do
  leg 6 $i >/dev/null
  dd if="disk$i.img" of="meta$i" bs=1M skip=28 count=1 status=none
  words+=("leg6$i,meta$i")
done
is_array 6 raid5_ls 128 16384 "${words[@]}"
if "$DM_TOOL" raid raid5_ls 128 16384 leg60 leg61 leg62 | sha256sum | cut -d' ' -f1 | grep -qf - out/sums; then
  echo "the failed leg was not stale: this shows nothing" && exit 1
fi
