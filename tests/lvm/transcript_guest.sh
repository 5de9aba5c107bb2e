# Leaves what lvm2 says to $LINES in $OUT/said.
hostname box
export LC_ALL=C
while IFS= read -r line; do
  case "$line" in
    "#"*) ;;
    "!"*) sh -c "${line#!}" >/dev/null 2>&1 ;;
    *)
      echo "\$ $line"
      status=0
      sh -c "$line" </dev/null 2>&1 || status=$?
      [ $status = 0 ] || echo "($status)"
      ;;
  esac
done <"$TRANSCRIPT" >"$OUT/said"
