//! Ctrl-C: the first one ends the run in good order, the second one at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output;

/// Exit code of a run that the second signal ends.
const STOPPED: i32 = 1;

/// A flag that the first SIGINT or SIGTERM sets; the second one ends the process.
pub(crate) fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(STOPPED);
            }
            output::message("stopping after the tile under way; once more stops at once");
        }
    })?;
    Ok(stop)
}
