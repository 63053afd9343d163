//! A real browser, without a window.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vrt_video::{Frame, PictureChannels, read_picture};

/// Names under which it is installed.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Milliseconds of a page's own time, which do not have to pass.
const PAGE_TIME: &str = "--virtual-time-budget=40000";

/// The longest that a browser may take.
const LIMIT: Duration = Duration::from_secs(120);

/// So high that the stage has its whole height: a window of which a picture is taken is higher than
/// one that is not.
const WINDOW: &str = "--window-size=700,1200";

const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    WINDOW,
];

/// The browser of this machine.
#[derive(Debug)]
pub(crate) struct Browser(&'static str);

impl Browser {
    /// The browser, or `None`, with a printed word, where none is installed.
    pub(crate) fn find() -> Option<Self> {
        let starts = |name: &&&str| {
            Command::new(name).arg("--version").output().is_ok_and(|it| it.status.success())
        };
        let found = PROGRAMS.iter().find(starts);
        if found.is_none() {
            eprintln!("SKIPPED: chromium is not on this machine");
        }
        found.map(|name| Self(name))
    }

    /// The page as it stands after its scripts ran.
    pub(crate) fn dom(&self, page: &Path, fragment: &str) -> String {
        self.run(&["--dump-dom"], page, fragment)
    }

    /// What is seen of the page.
    pub(crate) fn screenshot(&self, page: &Path, fragment: &str) -> Frame {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("seen.png");
        self.run(&[&format!("--screenshot={}", picture.display())], page, fragment);
        read_picture(&picture, PictureChannels::Rgb).unwrap()
    }

    fn run(&self, flags: &[&str], page: &Path, fragment: &str) -> String {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(self.0);
        command.args(FLAGS).arg(PAGE_TIME).args(flags);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.arg(format!("file://{}#{fragment}", page.display()));
        let output = output_in_time(&mut command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a command gives; one that does not end by itself is ended.
fn output_in_time(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = thread::spawn(move || all_of(&mut stdout));
    let stderr = thread::spawn(move || all_of(&mut stderr));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} was still running after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn all_of(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}
