"""The configurations of nginx and Caddy that take the gateway's open port: they pass the fleet API on to it and nothing else.

The gateway stays behind them, on loopback, and checks who signed a request. What it cannot see is
the address of a connection, so nginx bounds connections per address; Caddy 2.6 cannot.
"""

from pathlib import Path

_NGINX = """# Include in the http block, and set `gateway = false` in server.toml: nginx has the open port then.
limit_conn_zone $binary_remote_addr zone=fedlm_addresses:1m;
upstream fedlm_gateway {{
    server 127.0.0.1:{backend};
    keepalive 16;
}}
server {{
    listen {port} ssl;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_max_body_size {megabytes}m;
    client_header_timeout 10s;
    client_body_timeout 20s;
    limit_conn fedlm_addresses 64;
    location ~ "^/v1/fleet/([a-z]+(?:-[a-z]+)*)\\z" {{
        limit_except POST {{ deny all; }}
        proxy_pass https://fedlm_gateway/v1/fleet/$1;  # the path is rebuilt: nothing is smuggled along with it
        proxy_ssl_trusted_certificate {folder}/ca.pem;
        proxy_ssl_verify on;
        proxy_ssl_name localhost;  # nginx compares names only, no addresses
        proxy_http_version 1.1;
        proxy_set_header Host 127.0.0.1;
        proxy_set_header Connection "";
        proxy_request_buffering off;  # no message is stored on disk on its way
        proxy_buffering off;
    }}
    location / {{ return 403; }}
}}
"""

_CADDY = """# Run caddy with this file, and set `gateway = false` in server.toml: Caddy has the open port then.
{{
	auto_https off
	admin off
	servers {{
		max_header_size 16KiB
		timeouts {{
			read_header 10s
			idle 75s
		}}
	}}
}}
https://:{port} {{
	tls {folder}/server.pem {folder}/server.key {{
		protocols tls1.2 tls1.3
	}}
	@fleet {{
		method POST
		expression `{{http.request.orig_uri}}.matches("^/v1/fleet/[a-z]+(-[a-z]+)*$")`  # as sent, not decoded
	}}
	handle @fleet {{
		request_body {{
			max_size {megabytes}MiB
		}}
		reverse_proxy https://127.0.0.1:{backend} {{
			header_up Host 127.0.0.1
			transport http {{
				tls_trusted_ca_certs {folder}/ca.pem  # tls_trust_pool of 2.8 and newer; Debian has 2.6
				tls_server_name 127.0.0.1
				keepalive 60s  # the gateway closes a connection that was idle for 75 seconds
			}}
		}}
	}}
	handle {{
		respond 403
	}}
}}
"""


def write_configurations(folder: Path, port: int, backend: int, max_message_bytes: int) -> None:
    """Writes `nginx.conf` and `Caddyfile` into the coordinator's folder.

    Args:
      folder: has the certificates.
      port: the open one.
      backend: the gateway's port behind them, on loopback.
      max_message_bytes: largest request.
    """
    values = {"port": port, "backend": backend, "folder": folder.resolve(), "megabytes": -(-max_message_bytes // 2**20)}
    (folder / "nginx.conf").write_text(_NGINX.format(**values))
    (folder / "Caddyfile").write_text(_CADDY.format(**values))
