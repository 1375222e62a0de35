# One image for every process of Waybill: `services` and `gateway` (which is the sandbox, too).
# docker-compose.yml builds it; both the classic builder and BuildKit can.

# By digest, of every platform's index: a tag may be moved. A new one: `docker buildx imagetools
# inspect NAME:TAG`, then change both. These variables name others, for tests.
ARG PYTHON_IMAGE
ARG RUST_IMAGE
ARG DEBIAN_IMAGE

# The Datastar client, which is part of the gateway: as in scripts/setup.mjs, from a package on
# PyPI, with both checksums.
FROM ${PYTHON_IMAGE:-python:3.13-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8} AS datastar
WORKDIR /datastar
COPY scripts/datastar-requirements.txt scripts/datastar.sha256 scripts/datastar.LICENSE.txt ./
RUN python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --python-version 3.14 --require-hashes --requirement datastar-requirements.txt --dest . \
 && python3 -m zipfile --extract ./*.whl wheel \
 && mv wheel/stario_create/vendor/datastar.js . \
 && sha256sum --check datastar.sha256

FROM ${RUST_IMAGE:-rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082} AS build
WORKDIR /waybill
ENV CARGO_INCREMENTAL=0 CARGO_NET_RETRY=10
# `dev` builds faster, for tests.
ARG CARGO_PROFILE=release
# For jemalloc; the slim image has a compiler without it.
RUN command -v make > /dev/null \
 || (apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*)

# The dependencies, apart from the code: this layer is built anew only when a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY crates/domain/Cargo.toml crates/domain/
COPY crates/process/Cargo.toml crates/process/
COPY crates/sandbox/Cargo.toml crates/sandbox/
COPY crates/services/Cargo.toml crates/services/
COPY crates/gateway/Cargo.toml crates/gateway/
# Of what is for tests only the manifests are there: cargo wants every member of the workspace.
COPY crates/fuzz/Cargo.toml crates/fuzz/
COPY crates/tests/Cargo.toml crates/tests/
RUN for crate in domain process sandbox services gateway fuzz tests; do \
      mkdir "crates/$crate/src" && echo '//! A stub.' > "crates/$crate/src/lib.rs" || exit 1; \
    done \
 && printf '//! A stub.\nfn main() {}\n' | tee crates/services/src/main.rs > crates/gateway/src/main.rs \
 && cargo build --package waybill-services --package waybill-gateway --locked --profile "$CARGO_PROFILE" \
 # Files keep their dates when they are copied in, so cargo would take these stubs for the code.
 && rm -rf target/*/.fingerprint/waybill-*

COPY crates crates
COPY migrations migrations
COPY web web
COPY --from=datastar /datastar/datastar.js /datastar/datastar.LICENSE.txt web/static/vendor/
# What `--version` says: docker compose build --build-arg WAYBILL_COMMIT="$(git rev-parse --short HEAD)"
ARG WAYBILL_COMMIT=
RUN cargo build --package waybill-services --package waybill-gateway --locked --profile "$CARGO_PROFILE" \
 && folder="target/$CARGO_PROFILE" \
 && if [ "$CARGO_PROFILE" = dev ]; then folder=target/debug; fi \
 && mkdir /out && cp "$folder/services" "$folder/gateway" /out/ && strip /out/*

FROM ${DEBIAN_IMAGE:-debian:bookworm-slim@sha256:96e378d7e6531ac9a15ad505478fcc2e69f371b10f5cdf87857c4b8188404716}
ARG WAYBILL_COMMIT=
LABEL org.opencontainers.image.title="Waybill" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="$WAYBILL_COMMIT"
# Whom to trust, when a payment provider or a carrier is asked over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# A new volume takes the owner of the folder that it is mounted on: that is what these are for.
RUN groupadd --gid 10001 waybill \
 && useradd --uid 10001 --gid waybill --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin waybill \
 && install --directory --owner waybill --group waybill --mode 0700 /data /sandbox-data /secrets /gateway-secrets /services-secrets /restate-data /restate-keys
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
CMD ["gateway"]
