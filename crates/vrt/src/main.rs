//! The command `vrt`.

#![forbid(unsafe_code)]

mod cli;

/// Tensors come and go in large pieces, which this allocator keeps for a while.
#[global_allocator]
static ALLOCATOR: vrt_kernels::allocator::Allocator = vrt_kernels::allocator::Allocator;

fn main() -> std::process::ExitCode {
    cli::main()
}
