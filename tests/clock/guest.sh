#!/bin/sh
# guest.sh: the first process in the user-mode Linux that uml.sh starts. Runs one case and switches off.
# KERNEL, CASE, CHRONYD and LOG come from the command line of the kernel.
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run HOME=/run
"$KERNEL" "$CASE" >"$LOG" 2>&1
echo "exit status $?" >>"$LOG"
sync
echo o >/proc/sysrq-trigger
sleep 60
