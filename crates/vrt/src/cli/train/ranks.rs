//! Which rank of a training run this process is.

use std::sync::Arc;

use vrt_train::ranks::launch::{Launch, detect};
use vrt_train::ranks::{Collective, Single};

use crate::cli::Failure;

/// Joins the ranks that a launcher has started, if one has.
pub(super) fn join() -> Result<Arc<dyn Collective>, Failure> {
    match detect(|name| std::env::var_os(name))? {
        Some(launch) if launch.size() > 1 => several(&launch),
        _ => Ok(Arc::new(Single)),
    }
}

#[cfg(feature = "mpi")]
fn several(launch: &Launch) -> Result<Arc<dyn Collective>, Failure> {
    Ok(Arc::new(vrt_train::ranks::mpi::Mpi::start(Some(launch))?))
}

#[cfg(not(feature = "mpi"))]
fn several(launch: &Launch) -> Result<Arc<dyn Collective>, Failure> {
    let text = format!(
        "{} has started this process as one of {} ranks, but this program was built without MPI: \
         build it with `--features mpi`, or start one process",
        launch.launcher(),
        launch.size()
    );
    Err(Failure::Failed(text.into()))
}
