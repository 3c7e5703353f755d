#!/bin/sh
# The parts of a node, each started again when it ends. On SIGTERM the controller says goodbye to its peers, then all of them end.
set -u
services=/run/dfaas/service
# Only their states are kept there: nothing that lies in it can be executed.
for part in /etc/dfaas/service/*; do
	mkdir -p "$services/${part##*/}"
	ln -sf "$part/run" "$services/${part##*/}/run"
done
runsvdir -P $services &
trap 'sv -w 8 force-stop $services/controller $services/haproxy $services/spoa >/dev/null; kill $!; exit 0' TERM INT
wait
