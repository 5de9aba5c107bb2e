for id in 0 5; do
  sum=$("$DM_TOOL" thin disk0.img disk1.img $id 40960 | sha256sum | cut -d' ' -f1)
  grep -qx "$sum thin$id" out/sums || { echo "thin $id differs" && exit 1; }
done
