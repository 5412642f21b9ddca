//! Makes the gRPC peer's messages, client and server.

fn main() -> std::io::Result<()> {
    tonic_prost_build::compile_protos("proto/agent.proto")
}
