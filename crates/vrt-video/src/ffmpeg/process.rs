//! Children, and what they say.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::FfmpegError;

/// Bytes of one line that are looked at; the rest of a longer line is dropped.
const LINE_BYTES: usize = 2048;

/// Lines of a child's messages that an error may quote.
const TAIL_LINES: usize = 6;

/// Bytes of output that a program run to its end may make.
const CAPTURE_BYTES: u64 = 64 << 20;

/// Starts `command`, turning "not found" into advice.
///
/// The child has a process group of its own: an interrupt from the terminal reaches this program
/// alone, which then decides how the child ends.
pub(crate) fn spawn(command: &mut Command) -> Result<Child, FfmpegError> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.spawn().map_err(|source| {
        let program = Path::new(command.get_program()).to_path_buf();
        match source.kind() {
            std::io::ErrorKind::NotFound => FfmpegError::Missing { program },
            _ => FfmpegError::Run { program, source },
        }
    })
}

/// The last messages of a child, bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Adds a message, without the address in its `[name @ 0x…] [level]` prefix, unless it is the
    /// last one over again.
    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = without_context(line);
        if lines.back() == Some(&line) {
            return;
        }
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// All messages held, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The messages behind the exit state, as one clause.
    pub(crate) fn with_state(&self, status: Option<ExitStatus>) -> String {
        let state = match status {
            Some(status) if status.success() => "ffmpeg ended".to_owned(),
            Some(status) => format!("ffmpeg ended with {status}"),
            None => "ffmpeg did not end".to_owned(),
        };
        let said = self.lines().join(" | ");
        if said.is_empty() { state } else { format!("{state} and said: {said}") }
    }
}

/// Collects what a child says on its standard error in a thread, until it closes it.
pub(crate) fn watch(
    stderr: Option<ChildStderr>,
    mut each: impl FnMut(&str) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let stderr = stderr?;
    Some(thread::spawn(move || for_each_line(stderr, &mut each)))
}

/// Hands over every line of `stream`, cut at [`LINE_BYTES`], until it ends.
pub(crate) fn for_each_line(stream: impl Read, mut each: impl FnMut(&str)) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let chunk = match stream.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(chunk) => chunk,
        };
        let end = chunk.iter().position(|&byte| byte == b'\n' || byte == b'\r');
        let taken = end.unwrap_or(chunk.len());
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&chunk[..taken.min(room)]);
        stream.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            hand_over(&mut line, &mut each);
        }
    }
    hand_over(&mut line, &mut each);
}

fn hand_over(line: &mut Vec<u8>, each: &mut impl FnMut(&str)) {
    if !line.is_empty() {
        each(String::from_utf8_lossy(line).trim_end());
        line.clear();
    }
}

/// How grave a message is, under `-loglevel level+…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// `info` and below, and lines that state no level.
    Other,
    /// `warning`.
    Warning,
    /// `error`, `fatal` and `panic`.
    Error,
}

/// The level that a message states.
pub(crate) fn level_of(line: &str) -> Level {
    let (_, rest) = split_context(line);
    match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(("error" | "fatal" | "panic", _)) => Level::Error,
        Some(("warning", _)) => Level::Warning,
        _ => Level::Other,
    }
}

/// `[name @ 0x1234] message` as `(name, message)`.
fn split_context(line: &str) -> (Option<&str>, &str) {
    let context = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match context.and_then(|(context, rest)| Some((context.split_once(" @ ")?.0, rest))) {
        Some((name, rest)) => (Some(name), rest),
        None => (None, line),
    }
}

fn without_context(line: &str) -> String {
    let (name, rest) = split_context(line);
    let levels = ["[error] ", "[fatal] ", "[warning] ", "[panic] "];
    let rest = levels.iter().find_map(|level| rest.strip_prefix(level)).unwrap_or(rest);
    match name {
        Some(name) => format!("{name}: {rest}"),
        None => rest.to_owned(),
    }
}

/// What a program that ran to its end has made.
#[derive(Debug)]
pub(crate) struct Captured {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote.
    pub(crate) stdout: Vec<u8>,
    /// What it said.
    pub(crate) tail: Tail,
}

/// Runs `command` to its end.
pub(crate) fn capture(command: &mut Command) -> Result<Captured, FfmpegError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let tail = Tail::default();
    let said = tail.clone();
    let watcher = watch(child.stderr.take(), move |line| said.push(line));
    let mut stdout = Vec::new();
    let read = child.stdout.take().map(|out| out.take(CAPTURE_BYTES).read_to_end(&mut stdout));
    let ended = read.transpose().and_then(|_| child.wait());
    let status = ended.map_err(|source| FfmpegError::Run {
        program: Path::new(command.get_program()).to_path_buf(),
        source,
    })?;
    if let Some(watcher) = watcher {
        // A panic of the watcher would only lose words.
        let _ = watcher.join();
    }
    Ok(Captured { status, stdout, tail })
}

/// Runs `command` to its end and hands over its output line by line, however long that is; what it
/// says beside that, and how it ends, is passed over.
pub(crate) fn each_line(command: &mut Command, each: impl FnMut(&str)) -> Result<(), FfmpegError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(command)?;
    if let Some(stdout) = child.stdout.take() {
        for_each_line(stdout, each);
    }
    let program = || Path::new(command.get_program()).to_path_buf();
    child.wait().map_err(|source| FfmpegError::Run { program: program(), source })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_newlines_and_returns_and_are_cut() {
        let mut text = b"one\rtwo\n\nthree ".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES));
        text.extend(b"\nlast");
        let mut lines = Vec::new();
        for_each_line(&text[..], |line| lines.push(line.to_owned()));
        assert_eq!(lines.len(), 4);
        assert_eq!(&lines[..2], ["one", "two"]);
        assert_eq!(lines[2].len(), LINE_BYTES);
        assert_eq!(lines[3], "last");
    }

    #[test]
    fn a_message_loses_its_address_and_level() {
        let line = "[h264 @ 0x55d0] [error] Invalid NAL unit size";
        assert_eq!(without_context(line), "h264: Invalid NAL unit size");
        assert_eq!(level_of(line), Level::Error);
        assert_eq!(without_context("[fatal] gone"), "gone");
        assert_eq!(level_of("[fatal] gone"), Level::Error);
        assert_eq!(level_of("[Parsed_showinfo_0 @ 0x1] [info] n: 0"), Level::Other);
        assert_eq!(level_of("free text [error]"), Level::Other);
    }

    #[test]
    fn the_tail_keeps_the_last_lines_only() {
        let tail = Tail::default();
        for i in 0..100 {
            tail.push(&format!("line {i}"));
            tail.push(&format!("line {i}"));
        }
        assert_eq!(tail.lines().len(), TAIL_LINES);
        assert_eq!(tail.lines()[0], "line 94");
        assert_eq!(tail.lines()[TAIL_LINES - 1], "line 99");
    }

    #[test]
    fn a_program_that_is_not_there_is_advice() {
        let error = capture(&mut Command::new("vrt-no-such-program")).unwrap_err();
        assert!(matches!(error, FfmpegError::Missing { .. }));
        assert!(error.to_string().contains("apt install ffmpeg"), "{error}");
    }
}
