//! The command `vrt`.

#![forbid(unsafe_code)]

mod cli;

/// Tiles come and go in large pieces, which this allocator hands back to the system.
#[global_allocator]
static ALLOCATOR: vrt_kernels::allocator::Allocator = vrt_kernels::allocator::Allocator;

fn main() -> std::process::ExitCode {
    cli::main()
}
