# A small image that runs the program as an unprivileged user. Needs BuildKit, which is Docker's default builder.
#
#   docker build -t backlinks-export:0.1.0 .
#
# Both stages use the same Debian release, so that the libraries match. docs/recipes.md shows how to use the image.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# Only what the build reads, so that a change to a test or a page does not rebuild anything. Without rust-toolchain.toml,
# because the image is that toolchain and the file would make it fetch rustfmt and clippy.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# Caches compiled crates between builds on the same machine.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --profile dist --locked --bin backlinks-export \
    && install -D target/dist/backlinks-export /out/backlinks-export \
    && install -d -o 10001 -g 10001 /out/data

FROM debian:12.12-slim
LABEL org.opencontainers.image.title="backlinks-export" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The certificate authorities. The base image has the C library, and the shell that the Kubernetes recipe uses.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/backlinks-export /usr/local/bin/backlinks-export
# Owned by the user below, for use without a volume.
COPY --from=build --chown=10001:10001 /out/data /data
USER 10001:10001
WORKDIR /data
# SIGTERM lets calls in flight finish: allow time for a call, docker stop --time 150.
ENTRYPOINT ["backlinks-export"]
CMD ["--help"]
