//! The file of a Unix socket: made in one step, never over something else, removed only by its owner.
//!
//! A socket is bound and made to listen under a temporary name beside its path, given its mode
//! and group there, and then linked into place. The link fails if anything is at the path, so two that bind
//! at once can't both win, and no peer ever finds a socket that does not listen yet.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::BindError;

/// How often and how long to wait for others that bind in the same folder.
const LOCK_ATTEMPTS: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A socket's file. Dropping it removes the file, unless another has taken its place.
///
/// To be removed before its listener is closed: an open listener keeps the file's inode from
/// being given to another.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    mark: Mark,
    removed: AtomicBool,
}

/// What tells one file from another at the same path.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { device: found.dev(), inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()) })
    }
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file if it is still ours. Does so once.
    pub(super) fn remove(&self) {
        if self.removed.swap(true, Ordering::Relaxed) {
            return;
        }
        if Mark::of(&self.path).is_ok_and(|mark| mark == self.mark) {
            // Somebody else may have removed it between the two steps.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Who may connect, as far as the file says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    pub(super) mode: Option<u32>,
    pub(super) group: Option<u32>,
}

/// Listens at `path`.
pub(super) fn bind(
    path: &Path,
    backlog: u32,
    access: Access,
) -> Result<(UnixListener, SocketFile), BindError> {
    let wrap = |source| BindError::Io { place: path.display().to_string(), source };
    // The path itself must be short enough to be connected to.
    SockAddr::unix(path).map_err(wrap)?;
    let _alone = lock_folder(path);
    clear(path)?;
    let temporary = Temporary::new(path).map_err(wrap)?;
    let listener = listen(&temporary.0, backlog, access).map_err(wrap)?;
    let mark = Mark::of(&temporary.0).map_err(wrap)?;
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => {
            let removed = AtomicBool::new(false);
            Ok((listener, SocketFile { path: path.to_path_buf(), mark, removed }))
        }
        // Whoever came between did not look for the lock.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(BindError::InUse { path: path.to_path_buf() })
        }
        Err(error) => Err(wrap(error)),
    }
}

/// Keeps others that bind in the same folder out until the file is dropped. Where the system can't
/// lock a folder, or somebody holds the lock for long, the link alone has to decide.
fn lock_folder(path: &Path) -> Option<fs::File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::File::open(parent).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

fn listen(path: &Path, backlog: u32, access: Access) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // The group first: the mode may open the socket to it, and to nobody else's group before.
    if let Some(group) = access.group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|error| {
            io::Error::new(error.kind(), format!("it can't be given to group {group}: {error}"))
        })?;
    }
    if let Some(mode) = access.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A name beside the path that is unlinked in the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(path: &Path) -> io::Result<Self> {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let tail = format!("{:x}.{count:x}", std::process::id());
        let mut long = OsString::from(".");
        long.push(path.file_name().ok_or(ErrorKind::InvalidInput)?);
        long.push(format!(".{tail}"));
        // A socket's path has about a hundred bytes. Where the telling name is too long, one
        // that may well be shorter than the path itself has to do.
        [long, OsString::from(format!(".{tail}")), OsString::from(format!(".{count:x}"))]
            .into_iter()
            .map(|name| path.with_file_name(name))
            .find(|candidate| SockAddr::unix(candidate).is_ok() && fs::symlink_metadata(candidate).is_err())
            .map(Self)
            .ok_or_else(|| {
                io::Error::new(ErrorKind::InvalidInput, "the path is too long for a socket; shorten it")
            })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes way at `path`: removes a socket that nobody listens on.
fn clear(path: &Path) -> Result<(), BindError> {
    let wrap = |source| BindError::Io { place: path.display().to_string(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrap(error)),
    };
    if !found.is_socket() {
        return Err(BindError::NotASocket { path: path.to_path_buf(), found: describe(found) });
    }
    if is_live(path).map_err(wrap)? {
        return Err(BindError::InUse { path: path.to_path_buf() });
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(wrap(error)),
    }
}

/// Whether somebody listens on the socket. A full backlog is somebody too.
fn is_live(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        // What can't be told apart from a live one counts as live, and is not removed.
        Err(error) => Ok(!matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound)),
    }
}

fn describe(found: fs::FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a directory"
    } else if found.is_file() {
        "a regular file"
    } else {
        "a special file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = dir();
        let file = dir.path().join("file");
        fs::write(&file, "precious").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        for (path, what) in [(&file, "a regular file"), (&link, "a symbolic link"), (&folder, "a directory")]
        {
            let error = bind(path, 8, Access::default()).unwrap_err();
            assert!(matches!(&error, BindError::NotASocket { found, .. } if *found == what), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(names(&dir).len(), 3);
    }

    #[test]
    fn a_live_listener_keeps_its_path() {
        let dir = dir();
        let path = dir.path().join("socket");
        let (listener, file) = bind(&path, 8, Access::default()).unwrap();
        assert!(matches!(bind(&path, 8, Access::default()), Err(BindError::InUse { .. })));
        assert_eq!(names(&dir), ["socket"]);
        drop(listener);
        // The inode may be given out again; the time then differs.
        std::thread::sleep(Duration::from_millis(20));
        // Nobody listens any more, but the file is there: it is replaced.
        let (_listener, second) = bind(&path, 8, Access::default()).unwrap();
        // The first one's file is not the first one's any more.
        drop(file);
        assert_eq!(names(&dir), ["socket"]);
        drop(second);
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn a_full_backlog_is_alive() {
        let dir = dir();
        let path = dir.path().join("socket");
        let (_listener, _file) = bind(&path, 1, Access::default()).unwrap();
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            if socket.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(socket);
            assert!(waiting.len() < 100, "the backlog is not honoured");
        }
        assert!(matches!(bind(&path, 1, Access::default()), Err(BindError::InUse { .. })));
    }

    #[test]
    fn the_mode_is_set_before_the_name_is_there() {
        let dir = dir();
        let path = dir.path().join("socket");
        let (_listener, _file) = bind(&path, 8, Access { mode: Some(0o600), group: None }).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_group_is_set_before_the_name_is_there() {
        let dir = dir();
        let ours = fs::metadata(dir.path()).unwrap();
        // Only the privileged may give a file to a group that they are not in.
        let group = if ours.uid() == 0 { 54_321 } else { ours.gid() };
        let path = dir.path().join("socket");
        let access = Access { mode: Some(0o660), group: Some(group) };
        let (_listener, _file) = bind(&path, 8, access).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.gid(), found.permissions().mode() & 0o777), (group, 0o660));
    }

    #[test]
    fn a_group_that_cannot_be_had_is_named_and_leaves_nothing() {
        let dir = dir();
        let path = dir.path().join("socket");
        // The privileged may give it to any group.
        if fs::metadata(dir.path()).unwrap().uid() == 0 {
            return;
        }
        let error = bind(&path, 8, Access { mode: None, group: Some(0) }).unwrap_err();
        assert!(error.to_string().contains("group 0"), "{error}");
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn a_path_almost_too_long_works_and_one_too_long_is_an_error() {
        let dir = dir();
        let room = 107 - dir.path().as_os_str().len() - 1;
        let path = dir.path().join("s".repeat(room));
        let (_listener, _file) = bind(&path, 8, Access::default()).unwrap();
        assert!(is_live(&path).unwrap());
        let longer = dir.path().join("s".repeat(room + 1));
        assert!(matches!(bind(&longer, 8, Access::default()), Err(BindError::Io { .. })));
    }

    #[test]
    fn of_many_that_bind_at_once_one_wins() {
        let dir = dir();
        let path = dir.path().join("socket");
        drop(listen(&path, 8, Access::default()).unwrap());
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || bind(&path, 8, Access::default()).ok())
            })
            .collect();
        let won: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(won.len(), 1);
        assert!(is_live(&path).unwrap());
        assert_eq!(names(&dir), ["socket"]);
    }
}
