# Reports that both sides make of the same group: sourced by the host, with `lvm` being respaldo's, and by the guest.
# What only an active volume has is taken out; tables with the PVs' names lose the width of their columns.
reports() {
  lvs vg0 | inactive
  lvs -a --segments vg0 | inactive
  lvs --noheadings --separator : -o lv_name,lv_uuid,lv_size,seg_count,origin,origin_size,chunk_size,lv_tags vg0
  lvs --units b --nosuffix -o lv_name,lv_size,seg_start,seg_size,stripes,stripe_size,seg_pe_ranges vg0 | devices
  lvs --reportformat json -o vg_name,lv_name,lv_size,segtype --units k vg0
  lvs --nameprefixes --noheadings -o lv_name,lv_size,lv_permissions vg0
  lvs -O -lv_size,lv_name -o lv_name,lv_size vg0
  lvs -o lv_name,lv_size,devices --units s vg0 | devices
  vgs vg0
  vgs -o +vg_uuid,vg_extent_size,vg_extent_count,vg_free_count,vg_seqno,vg_mda_count,vg_tags vg0
  vgs --units H vg0
  lvs -o snap_percent,metadata_percent,copy_percent,seg_count,origin_size,chunk_size,stripe_size,seg_start,seg_start_pe vg0
  lvs -o lv_full_name,lv_path,lv_dm_path,lv_host,lv_time,lv_tags,lv_snapshot_invalid,lv_permissions,seg_size_pe vg0
  vgs -o vg_name,max_lv,max_pv,vg_missing_pv_count,vg_fmt,snap_count vg0
  pvs -o pv_uuid,pv_fmt,pv_attr,pv_size,pv_free,pv_used,dev_size,pe_start,pv_mda_count,pv_mda_size,pv_tags,pv_missing -O pv_uuid
  pvs | devices
  pvs --units m -o pv_name,pv_uuid,dev_size,pv_size,pv_free,pv_used,pe_start,pv_pe_count,pv_pe_alloc_count | devices
  vgdisplay vg0
  pvdisplay | devices
  lvdisplay vg0 | grep -vE '# open|currently set to|Block device' | sed 's/NOT available/available/'
}
inactive() { sed -E 's/ ([-a-zA-Z]{4})a([-o][-a-z]{4}) / \1-\2 /'; }
devices() { sed -E 's#/dev/ubda#a.img#g; s#/dev/ubdb2#b.img:2#g; s#/dev/ubdc#c.img#g; s/ +$//' | tr -s ' '; }
