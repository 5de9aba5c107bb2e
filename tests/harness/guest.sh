# Words of the guest's scripts (sourced by init.sh before them). $DISKS holds the disks, "/dev/ubda /dev/ubdb ...".

# pattern DEVICE FROM COUNT: COUNT KiB of noise at FROM KiB (multiples of 4).
pattern() {
  dd if=/dev/urandom of="$1" bs=4k seek=$(($2 / 4)) count=$(($3 / 4)) oflag=direct conv=notrunc status=none
}

# sums VG: leaves "SHA-256 VG/LV" of every visible volume of VG in $OUT/sums.
sums() {
  lvs --noheadings --separator ' ' -o lv_name,lv_dm_path "$1" >/run/volumes
  while read -r name path; do
    echo "$(sha256sum "$path" | cut -d' ' -f1) $1/$name" >>"$OUT/sums"
  done </run/volumes
}

# quiet COMMAND...: runs it; anything on standard error is a failure (lvm2 warns and still exits 0).
quiet() {
  "$@" 2>/run/stderr || { cat /run/stderr >&2; return 1; }
  [ ! -s /run/stderr ] || { echo "unexpected: $*: $(cat /run/stderr)" >&2; return 1; }
}

# refused COMMAND...: succeeds when the command fails.
refused() { ! "$@"; }

# A repository whose key costs little: what costs is a guest's time, not what is tested. bad_days_guest.sh has init itself.
quick_init() { "${QUICK_REPOSITORY:?}" "${1:-$RESPALDO_REPOSITORY}"; }

# unaudited COMMAND...: without map_ahead.c. glibc loads no library beside an auditor whose thread-local storage is aligned to
# more than 64 bytes ("cannot allocate memory in static TLS block"): liburcu's is, which xfsprogs use.
unaudited() { env -u LD_AUDIT "$@"; }
