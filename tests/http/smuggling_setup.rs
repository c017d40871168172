//! What the corpus of hostile requests is sent to: a proxy, and a folder with a secret beside it.

use fairlead_harness::Setup;

pub const HTTP: &str =
    "client_header_timeout 700ms; client_body_timeout 700ms; lingering_timeout 500ms; keepalive_timeout 2s;
    proxy_http_version 1.1; proxy_set_header Connection close; proxy_set_header Host $proxy_host;
    server { listen 127.0.0.1:{port};
        location / { proxy_pass http://{peer}; }
        location /in/ { proxy_pass http://{peer}/app/; }
        location /cut { proxy_pass http://{peer}/app/; }
        location = /after { return 204; } }
    server { listen 127.0.0.1:{port2}; root {dir}/site;
        location /al { alias {dir}/site/; }
        location = /after { return 204; } }";

/// With what is inside the root, and what is not.
pub fn with_files(setup: Setup) -> Setup {
    setup.file("site/inside.txt", "inside").file("site/index.html", "inside").file("secret.txt", "SECRET")
}
