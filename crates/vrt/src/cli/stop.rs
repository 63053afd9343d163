//! Ctrl-C: the first one ends the run in good order, the second one at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

use super::output;

/// Exit code of a run that the second signal ends.
const STOPPED: i32 = 1;

/// What a terminal sends that is closed.
#[cfg(unix)]
const HANG_UP: &[i32] = &[signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const HANG_UP: &[i32] = &[];

/// How soon a signal is answered.
const ANSWER: Duration = Duration::from_millis(100);

/// A flag that the first signal to end (SIGINT, SIGTERM, …) sets; the second one ends the process.
pub(crate) fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS.iter().chain(HANG_UP) {
        // In this order: the first signal finds the flag unset, and goes on to set it.
        flag::register_conditional_shutdown(signal, STOPPED, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    let flag = Arc::clone(&stop);
    // Nothing may be printed where a signal is handled, and a part of the network can take long.
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            thread::sleep(ANSWER);
        }
        output::message("stopping; once more stops at once");
    })?;
    Ok(stop)
}
