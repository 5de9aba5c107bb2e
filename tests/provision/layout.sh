# Every figure of `layout` is compared with pvs, vgs, lvs and lsblk; doctor sees what is wrong.
for i in 0 1 2; do truncate -s 192M disk$i.img; done
guest "$(dirname "$0")/layout_guest.sh" out --disk disk0.img --disk disk1.img --disk disk2.img --env "RESPALDO=$RESPALDO" --limit 2400
python3 "$(dirname "$0")/layout_compare.py" out
