use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(geo_agent::cli::main())
}
