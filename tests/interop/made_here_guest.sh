# lvm2 and the kernel meet images that they have not made, say nothing against them, and change them.
percents() { lvs --noheadings --separator ' ' -o lv_name,snap_percent vg0 | awk 'NF == 2 { print $1, $2 }' | sort; }
quiet pvs -v
quiet vgs
quiet lvs -a -o +devices
quiet vgck vg0
for disk in /dev/ubda /dev/ubdb2 /dev/ubdc; do
  quiet pvck --dump headers "$disk" >headers
  refused grep -E 'CHECK|WARNING' headers
done
quiet vgchange -ay vg0
vgs --noheadings -o vg_name,pv_count,lv_count,snap_count,vg_seqno,vg_size,vg_free,vg_uuid --units b vg0 |
  tr -s ' ' >"$OUT/group"
percents >"$OUT/percents"
. "${GUEST%/*}/reports.sh"
reports >"$OUT/reports"
rm -f "$OUT/sums" "$OUT/sums.after"
sums vg0
for name in small large; do dmsetup status "vg0-$name" | grep -q ' snapshot [0-9]*/'; done

# Writes go on in the exception stores, at both sides.
pattern /dev/vg0/origin-a_b.c 9000 1200
pattern /dev/vg0/small 0 64
pattern /dev/vg0/large 6000 128
quiet lvextend -qq -L +1M vg0/large
quiet lvcreate -qq -Wn -n made_there -L 5M vg0
pattern /dev/vg0/made_there 0 5120
quiet lvcreate -qq -s -n snapped_there -c 8k -L 3M vg0/linear
pattern /dev/vg0/linear 100 300
quiet lvremove -qq -y vg0/plug
quiet lvextend -qq -L +3M vg0/passed
quiet vgextend -qq vg0 /dev/ubdc

# The kernel merges a store that was begun here: the origin becomes what the snapshot was.
merged=$(sha256sum </dev/vg0/large)
lvconvert -qq -y -i 1 --merge vg0/large
until ! lvs vg0/large >/dev/null 2>&1; do lvchange -qq --poll y vg0/origin-a_b.c && sleep 0.2; done
[ "$(sha256sum </dev/vg0/origin-a_b.c)" = "$merged" ]
quiet vgck vg0
mv "$OUT/sums" "$OUT/sums.before"
sums vg0
mv "$OUT/sums" "$OUT/sums.after"
mv "$OUT/sums.before" "$OUT/sums"
percents >"$OUT/percents.after"
sync
vgchange -qq -an vg0
