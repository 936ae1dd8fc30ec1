#!/bin/sh
# Run once by cloud-init: installs what /etc/chatty/host says, and starts it.
set -eu
# shellcheck source=/dev/null
. /etc/chatty/host
export AWS_DEFAULT_REGION="$REGION"
# Names, permissions and mirrors may need a moment when all has only just been made.
again() {
  n=0
  until "$@"; do
    n=$((n + 1))
    [ "$n" -lt 60 ] || return 1
    sleep 5
  done
}
imds() {
  u=http://169.254.169.254/latest h=X-aws-ec2-metadata-token
  t=$(curl -fsS -m 5 -X PUT -H "$h-ttl-seconds: 60" $u/api/token)
  curl -fsS -m 5 -H "$h: $t" "$u/meta-data/$1"
}
key() {
  aws ssm get-parameter --name "$KEYS/$1" --with-decryption --query Parameter.Value --output text >"/etc/chatty/tls/$1"
}
again dnf install -y -q nodejs22
f=/opt/chatty.tar.gz
again aws s3 cp --only-show-errors "s3://$BUCKET/$SHA256.tar.gz" $f
echo "$SHA256  $f" | sha256sum -c
mkdir -p /opt/chatty /etc/chatty/tls
tar -xzf $f -C /opt/chatty
umask 077
for f in ca.pem "$ROLE.pem" "$ROLE-key.pem"; do again key "$f"; done
# A balancer is told its address, since the one it has now is only its first.
[ -n "$ADDRESS" ] || ADDRESS=$(again imds public-ipv4)
ip6=$(imds ipv6 || true)
listen='' advertise=''
for p in $PORTS; do
  listen="$listen,0.0.0.0:$p"
  advertise="$advertise,$ADDRESS:$p"
  [ -n "$ip6" ] || continue
  listen="$listen,[::]:$p"
  advertise="$advertise,[$ip6]:$p"
done
{
  echo "CHATTY_LISTEN=${listen#,}"
  echo "CHATTY_ADVERTISE=${advertise#,}"
  if [ "$ROLE" = rendezvous ]; then
    n=$PROCESSES
    [ "$n" != auto ] || n=$(nproc)
    [ "$n" -le @MAX_PROCESSES@ ] || n=@MAX_PROCESSES@
    echo "CHATTY_PROCESSES=$n"
    # Three quarters of the memory, shared out.
    echo "CHATTY_MAX_MEMORY=$(awk -v n="$n" '/^MemTotal/ {print int($2 / 1024 * 0.75 / n)}' /proc/meminfo)MiB"
  fi
} >>/etc/chatty/host
sysctl -q --system
systemctl daemon-reload
systemctl enable -q --now chatty
