//! `sandbox`: serves the simulated API.

use super::{Failure, exit, print};
use crate::{cli::SandboxArgs, sandbox::Sandbox};

pub(super) fn serve(arguments: SandboxArgs) -> Result<u8, Failure> {
    let listen = arguments.listen;
    if !listen.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--listen {listen} is not a loopback address; the simulated API does not authenticate callers"
        ))
        .hint("use --listen 127.0.0.1:8080"));
    }
    super::runtime()?.block_on(async {
        let signals = super::signals::Signals::listen()?;
        let sandbox = Sandbox::start(listen, arguments.behavior).await.map_err(|error| {
            let failure = Failure::unexpected(format!("cannot listen on {listen}: {error}"));
            if error.kind() != std::io::ErrorKind::AddrInUse {
                return failure;
            }
            let next = std::net::SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or_default());
            failure.hint(format!("use another address, such as --listen {next}"))
        })?;
        let url = sandbox.url();
        print(&format!("simulated API at {url}, bill at http://{}/bill\n", sandbox.address()))?;
        signals.first().await;
        sandbox.stop().await;
        Ok(exit::SUCCESS)
    })
}
