#!/bin/sh
# Whether this load balancer lists the servers at the private addresses named.
set -eu
s=$(/usr/bin/node-22 /opt/chatty/bin/chatty-loadbalancer status --tls /etc/chatty/tls --cluster 127.0.0.1:@CLUSTER_PORT@)
for a; do
  echo "$s" | grep -q " listed .* cluster $a:@CLUSTER_PORT@ " || exit 1
done
