for i in 0 1 2 3 4 5; do truncate -s 160M disk$i.img; done
guest "$(dirname "$0")/targets_guest.sh" out --disk disk0.img --disk disk1.img --disk disk2.img --disk disk3.img --disk disk4.img \
  --disk disk5.img --module loop --env "RESPALDO=$RESPALDO" --limit 3000
