//! The thread that writes.

use crossbeam_channel::Receiver;
use vrt_video::{FrameSink, TimedFrame, Written};

use super::error::RestoreError;

/// Writes frames until no more come, and completes the output; `None` if there was none.
///
/// A frame that cannot be written ends the thread, which its sender notices.
pub(super) fn write_all(
    mut sink: Box<dyn FrameSink>,
    finished: Receiver<TimedFrame>,
) -> Result<Option<Written>, RestoreError> {
    let mut any = false;
    for frame in finished {
        sink.write(&frame)?;
        any = true;
    }
    match any {
        true => Ok(Some(sink.finish()?)),
        false => Ok(None),
    }
}
