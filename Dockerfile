# A small image that runs the program as nobody in particular. Needs BuildKit, which Docker builds with by itself.
#
#   docker build -t backlinks-export:0.1.0 .
#
# Both stages are of one Debian, so that what is linked is there; docs/recipes.md shows how it is used.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
# What the build reads and nothing else: a change of a test or a page builds nothing anew. rust-toolchain.toml stays
# outside, since the image is that toolchain and would fetch rustfmt and clippy.
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# Compiled crates outlast this build where the machine does.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --profile dist --locked --bin backlinks-export \
    && install -D target/dist/backlinks-export /out/backlinks-export \
    && install -d -o 10001 -g 10001 /out/data

FROM debian:12.12-slim
LABEL org.opencontainers.image.title="backlinks-export" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The authorities that TLS trusts. The shell, which Kubernetes needs for a sum, and the C library are there.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/backlinks-export /usr/local/bin/backlinks-export
# Belongs to the user below where no volume is put in its place.
COPY --from=build --chown=10001:10001 /out/data /data
USER 10001:10001
WORKDIR /data
# SIGTERM ends a run in order: give it the time of a call, docker stop --time 150.
ENTRYPOINT ["backlinks-export"]
CMD ["--help"]
