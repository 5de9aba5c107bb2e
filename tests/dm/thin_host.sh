for id in 0 5; do
  sum=$("$DM_TOOL" thin disk0.img disk1.img $id 40960 | sha256sum | cut -d' ' -f1)
  grep -qx "$sum thin$id" out/sums || { echo "thin $id differs" && exit 1; }
done
# What differs between the two, as thin_delta sees it.
thin_delta --thin1 0 --thin2 5 disk0.img | grep -E '<(left_only|right_only|different) ' | sed 's/^ *//' >expected
"$DM_TOOL" thin-delta disk0.img 0 5 | diff expected - || { echo "thin_delta sees other differences" && exit 1; }
[ "$(wc -l <expected)" -ge 3 ]
