# Words for the scripts of this folder.

# images FOLDER [WITHOUT...]: sets $images to "--disk FOLDER/diskN.img ..." of all disks but those numbers.
images() {
  local folder=$1 disk number
  shift
  images=()
  for disk in "$folder"/disk*.img; do
    number=${disk##*/disk}
    number=${number%.img}
    [[ " $* " == *" $number "* ]] || images+=(--disk "$disk")
  done
}

sum_of() { # VG/LV: what the program reads of $images
  "$RESPALDO" "${images[@]}" dump "$1" 2>message | sha256sum | cut -d' ' -f1
}

# same SUMS VG/LV...: each is read as SUMS tells.
same() {
  local sums=$1 volume wanted
  shift
  for volume; do
    wanted=$(grep -F " $volume" "$sums" | while read -r sum name; do [ "$name" != "$volume" ] || echo "$sum"; done)
    [ -n "$wanted" ] || { echo "$sums does not tell of $volume" && exit 1; }
    [ "$(sum_of "$volume")" = "$wanted" ] || { echo "$volume differs" && cat message && exit 1; }
  done
}
