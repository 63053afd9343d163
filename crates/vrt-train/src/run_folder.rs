//! The folder of a run: what is where in it, and who may write there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Ending of states.
const STATE: &str = "safetensors";
/// How names of files begin and end that are written aside, those of weights too.
const UNFINISHED: [&str; 2] = [".vrt-", ".partial"];

/// The folder of a run, locked for this process unless it only looks at it.
///
/// ```text
/// options.json           the resolved options of the newest start; options.before-N.json
///                        those that the steps up to N were made with, if they were others
/// journal.jsonl          a line a step
/// states/N.safetensors   the whole state after step N
/// models/N_G.pth         weights after step N, as KAIR loads them; N_E.pth their average
/// images/N/clip/frame    restored test frames, if val.save_img says so
/// tensorboard/           event files
/// run.lock               held while a process trains here
/// ```
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Option<File>,
}

/// A folder that a run cannot have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The system.
    #[error("the run folder {path:?} cannot be used: {source}")]
    Io {
        /// The folder, or something in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a file.
    #[error("{path:?} is a file, and a run needs a folder: choose another one (--run-dir)")]
    File {
        /// The file.
        path: PathBuf,
    },
    /// Another run is in it.
    #[error(
        "{path:?} holds a run already: go on with it (--resume), or choose another folder \
         (--run-dir)"
    )]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// What a run has left is there, but nothing to go on from.
    #[error(
        "{path:?} holds the journal or weights of a run, but no state to go on from (states/ is \
         empty): put one back, or begin another run in another folder (--run-dir), whose \
         path.pretrained_netG may be one of models/"
    )]
    Stateless {
        /// The folder.
        path: PathBuf,
    },
    /// Another process trains in it.
    #[error("another process is training in {path:?}: wait for its end, or choose another folder")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

impl RunFolder {
    /// Opens a folder for a run, making it if need be. Without `resume` it must not hold one.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or another run or process has it.
    pub fn open(path: &Path, resume: bool) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io { path: path.to_path_buf(), source };
        if !resume && ["options.json", "journal.jsonl"].iter().any(|name| path.join(name).exists())
        {
            return Err(FolderError::Taken { path: path.to_path_buf() });
        }
        if path.is_file() {
            return Err(FolderError::File { path: path.to_path_buf() });
        }
        for folder in ["", "states", "models"] {
            std::fs::create_dir_all(path.join(folder)).map_err(failed)?;
        }
        let lock = File::create(path.join("run.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FolderError::Locked { path: path.to_path_buf() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        for folder in ["", "states", "models"] {
            remove_unfinished(&path.join(folder)).map_err(failed)?;
        }
        Ok(Self { path: path.to_path_buf(), _lock: Some(lock) })
    }

    /// A folder that another process trains in, to read from.
    pub fn look(path: &Path) -> Self {
        Self { path: path.to_path_buf(), _lock: None }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Where event files for TensorBoard go.
    pub fn board(&self) -> PathBuf {
        self.path.join("tensorboard")
    }

    /// Where the state after a step is.
    pub fn state(&self, step: u64) -> PathBuf {
        self.path.join(format!("states/{step}.{STATE}"))
    }

    /// Where exported weights of a step are; `which` is `G`, or `E` for their average.
    pub fn model(&self, step: u64, which: char) -> PathBuf {
        self.path.join(format!("models/{step}_{which}.pth"))
    }

    /// Where restored test frames of a step go.
    pub fn images(&self, step: u64) -> PathBuf {
        self.path.join(format!("images/{step}"))
    }

    /// Refuses to begin anew where a run has left something.
    ///
    /// # Errors
    ///
    /// [`FolderError::Stateless`] if there is a line in the journal, or weights.
    pub fn fresh(&self) -> Result<(), FolderError> {
        let told = std::fs::read_to_string(self.journal()).unwrap_or_default();
        let told = told.lines().any(|line| line.contains("\"step\""));
        let models = std::fs::read_dir(self.path.join("models")).into_iter().flatten().flatten();
        let mut names = models.map(|entry| entry.file_name().to_string_lossy().into_owned());
        match told || names.any(|name| name.ends_with("_G.pth") || name.ends_with("_E.pth")) {
            true => Err(FolderError::Stateless { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Keeps the resolved options of a run that goes on after `step`; `before`, those that the steps
    /// up to it were made with, if they were others, go to `options.before-STEP.json`.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn write_options(
        &self,
        text: &str,
        before: Option<&str>,
        step: u64,
    ) -> Result<(), FolderError> {
        if let Some(before) = before {
            self.write(&format!("options.before-{step}.json"), before)?;
        }
        self.write("options.json", text)
    }

    /// Writes a file of the folder aside, and gives it its name.
    fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let written = aside(&self.path).and_then(|mut aside| {
            io::Write::write_all(&mut aside, text.as_bytes())?;
            aside.persist(&path).map(|_| ()).map_err(|error| error.error)
        });
        written.map_err(|source| FolderError::Io { path, source })
    }

    /// Steps that there are states of, the newest first.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u64>, FolderError> {
        let path = self.path.join("states");
        let failed = |source| FolderError::Io { path: path.clone(), source };
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            let is_state = file.extension().is_some_and(|ending| ending == STATE);
            let step = file.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            steps.extend(step.filter(|_| is_state));
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        Ok(steps)
    }

    /// Removes all states but the newest `keep`.
    ///
    /// # Errors
    ///
    /// If one cannot be removed.
    pub fn prune(&self, keep: usize) -> Result<(), FolderError> {
        for step in self.steps()?.into_iter().skip(keep) {
            let path = self.state(step);
            std::fs::remove_file(&path).map_err(|source| FolderError::Io { path, source })?;
        }
        Ok(())
    }
}

/// A file in `folder` that has no name yet.
pub(crate) fn aside(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(UNFINISHED[0]).suffix(UNFINISHED[1]).tempfile_in(folder)
}

/// Removes files that a run was killed while writing: they never got their names, and each may be
/// as large as a state.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let unnamed = name.starts_with(UNFINISHED[0]) && name.ends_with(UNFINISHED[1]);
        if unnamed && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_runs_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("runs/one");
        let folder = RunFolder::open(&path, false).unwrap();
        let error = RunFolder::open(&path, true).unwrap_err();
        assert!(matches!(error, FolderError::Locked { .. }), "{error}");
        folder.write_options("{}", None, 0).unwrap();
        folder.write_options("{ }", Some("{}"), 7).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("options.json")).unwrap(), "{ }");
        assert_eq!(std::fs::read_to_string(path.join("options.before-7.json")).unwrap(), "{}");
        drop(folder);
        let error = RunFolder::open(&path, false).unwrap_err();
        assert!(error.to_string().contains("--resume"), "{error}");
        RunFolder::open(&path, true).unwrap();
    }

    #[test]
    fn the_newest_states_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(root.path(), false).unwrap();
        for step in [0, 100, 20, 3] {
            std::fs::write(folder.state(step), "").unwrap();
        }
        std::fs::write(root.path().join("states/.vrt-abc.partial"), "").unwrap();
        assert_eq!(folder.steps().unwrap(), [100, 20, 3, 0]);
        folder.prune(2).unwrap();
        assert_eq!(folder.steps().unwrap(), [100, 20]);
        drop(folder);
        let folder = RunFolder::open(root.path(), true).unwrap();
        assert!(
            !root.path().join("states/.vrt-abc.partial").exists(),
            "what was not finished is removed"
        );
        assert_eq!(folder.steps().unwrap(), [100, 20]);
    }

    #[test]
    fn what_a_run_has_left_is_not_written_over() {
        for left in ["journal.jsonl", "models/7_G.pth"] {
            let root = tempfile::tempdir().unwrap();
            let folder = RunFolder::open(root.path(), true).unwrap();
            folder.fresh().unwrap();
            std::fs::write(root.path().join("journal.jsonl"), "{\"event\":\"x\"}\n").unwrap();
            std::fs::write(root.path().join("models/.gitkeep"), "").unwrap();
            folder.fresh().unwrap();
            std::fs::write(root.path().join(left), "{\"step\":1}\n").unwrap();
            let error = folder.fresh().unwrap_err().to_string();
            assert!(error.contains("no state to go on from"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = RunFolder::open(file.path(), false).unwrap_err().to_string();
        assert!(error.contains("is a file, and a run needs a folder"), "{error}");
        let error = RunFolder::open(Path::new("/proc/no/such"), false).unwrap_err();
        assert!(error.to_string().contains("/proc/no/such"), "{error}");
    }
}
