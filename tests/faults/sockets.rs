//! Binding, listening and shutting down.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::time::Duration;

use dialback::machine::{CloseReason, SubmitError};
use dialback::net::{Acceptor, AskError, BindError, Listener};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpStream, UnixStream};

use crate::raw::*;
use crate::site::*;

/// Upstream: binding over a path that holds a regular file deletes the file.
///
/// Here: whatever is no socket stays as it is, and the error says what is there.
#[tokio::test]
async fn fault_03_what_is_no_socket_is_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("folder").join("within"), "precious").unwrap();
    symlink(at("file"), at("link")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    for (name, what) in [
        ("file", "a regular file"),
        ("folder", "a directory"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
    ] {
        let error = Listener::bind_unix(at(name), config()).await.unwrap_err();
        assert!(matches!(&error, BindError::NotASocket { found, .. } if *found == what), "{name}: {error}");
        assert!(error.to_string().contains(what) && error.to_string().contains(name), "{error}");
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    assert_eq!(fs::read_to_string(at("folder").join("within")).unwrap(), "precious");
    assert_eq!(fs::read_link(at("link")).unwrap(), at("file"));
    assert_eq!(fs::read_link(at("dangling")).unwrap(), at("nothing"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
}

/// Upstream: a second bind takes the path away from a listener that lives; when the old one is
/// dropped, it deletes the file of the new one.
///
/// Here: the second bind fails and the first goes on; a listener removes no file but its own; a
/// socket that nobody listens on is replaced.
#[tokio::test]
async fn fault_12_a_second_bind_leaves_a_live_listener_alone() {
    let first = Site::new().await;
    let (mut raw, handle) = first.agent("early").await;
    for _ in 0..3 {
        let error = Listener::bind_unix(first.path(), config()).await.unwrap_err();
        assert!(matches!(&error, BindError::InUse { path } if *path == first.path()), "{error}");
    }
    first.agent("late").await;
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());

    // Somebody takes the file away and listens in its place: it is not the first one's any more.
    fs::remove_file(first.path()).unwrap();
    let second = Listener::bind_unix(first.path(), config()).await.unwrap();
    let Site { folder, listener } = first;
    drop(listener);
    let second = Site { folder, listener: second };
    second.agent("of-the-second").await;

    // What a process that was killed leaves behind.
    drop(second.listener);
    assert!(!second.folder.path().join("socket").exists());
    let path = second.folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let third = Site { folder: second.folder, listener: Listener::bind_unix(&path, config()).await.unwrap() };
    third.agent("of-the-third").await;
}

/// Upstream: a shutdown cancels what is in flight before it drains, and registrations are
/// accepted all the while.
///
/// Here: nobody registers any more, what is in flight may finish, and only what is left at the
/// deadline is cancelled, because the proxy shuts down.
#[tokio::test]
// Rule: C-DRAIN-1.
async fn fault_18_shutdown_drains_before_it_cancels() {
    let site = Site::new().await;
    let (mut raw, handle) = site.agent("a").await;
    let mut early = site.dial().await;
    early.bytes(&frame(REGISTRATION, registration("early").to_string())[..9]).await;
    let (finishes, stays) = (ask(&handle, "finishes"), ask(&handle, "stays"));
    let waits = handle.ask(chunk("stays", "x")).send().unwrap();
    assert_eq!(kinds(&raw.said().await), [HEADERS, HEADERS]);
    let (path, listener) = (site.path(), site.listener);
    let shutdown = tokio::spawn(async move {
        listener.shutdown(Duration::from_secs(2)).await;
        listener
    });

    // What was never written can be asked elsewhere, at once.
    assert_eq!(soon(waits).await, Err(AskError::Draining));
    assert_eq!(handle.ask(headers("new")).await, Err(AskError::Refused(SubmitError::Draining)));
    assert_eq!(UnixStream::connect(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
    early.bytes(&frame(REGISTRATION, registration("early").to_string())[9..]).await;
    assert_eq!(early.refusal().await, "the proxy is shutting down; retry later");

    assert_eq!(kinds(&raw.said().await), NOTHING, "cancelled before it drained");
    raw.allow("finishes", "in time").await;
    assert_eq!(soon(finishes).await.unwrap().audit.tags, ["in time"]);
    assert!(!shutdown.is_finished());
    let cancel = raw.expect(CANCEL).await;
    assert_eq!((cancel.id().as_str(), &cancel.json()["reason"]), ("stays", &json!(4)));
    assert!(raw.next().await.is_none());
    drop(raw);
    let lost = AskError::ConnectionLost { written: true, reason: Some(CloseReason::DrainDeadline) };
    assert_eq!(soon(stays).await, Err(lost));
    let listener = soon(shutdown).await.unwrap();
    assert_eq!(listener.connections(), 0);
    assert!(listener.accept().await.is_err());
}

/// Upstream: `backlog` is a setting that nothing reads. Here: it is what the system is told.
#[tokio::test]
async fn the_backlog_is_the_one_that_was_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = Vec::new();
    for backlog in [1, 30] {
        let path = folder.path().join(backlog.to_string());
        let mut config = config();
        config.backlog = backlog;
        let _listener = Listener::bind_unix(&path, config).await.unwrap();
        // The listener's task shares our thread, so it can't accept before we wait.
        let dial = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(&SockAddr::unix(&path).unwrap()).is_ok().then_some(socket)
        };
        let waiting: Vec<_> = std::iter::from_fn(dial).take(100).collect();
        taken.push(waiting.len());
    }
    assert!((1..=4).contains(&taken[0]), "{taken:?}");
    assert!((30..=60).contains(&taken[1]), "{taken:?}");
}

/// Upstream: TCP is promised and absent. Here: an agent may dial in over TCP.
#[tokio::test]
async fn an_agent_may_come_over_tcp() {
    let listener = Listener::bind_tcp("127.0.0.1:0".parse().unwrap(), config()).await.unwrap();
    let io = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut raw = Raw::new(io);
    assert_eq!(raw.register(&registration("a")).await["success"], true);
    let handle = soon(listener.accept()).await.unwrap();
    let asked = ask(&handle, "1");
    raw.expect(HEADERS).await;
    raw.block("1", 403).await;
    assert!(!soon(asked).await.unwrap().is_allow());
    drop(raw);
    soon(handle.closed()).await;
}

/// Upstream: TLS is promised and absent. Here: whoever wraps the stream, in TLS for instance, may
/// hand it over; the limits are the same.
#[tokio::test]
async fn an_agent_may_come_over_any_stream() {
    let mut config = config();
    config.policy.max_connections = 1;
    let acceptor = Acceptor::new(config).unwrap();
    let mut kept = Vec::new();
    for success in [true, false] {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let accepting = tokio::spawn({
            let acceptor = acceptor.clone();
            async move { acceptor.accept(ours).await }
        });
        let mut raw = Raw::new(theirs);
        assert_eq!(raw.register(&registration("a")).await["success"], success);
        let accepted = if success { Some(raw) } else { None };
        kept.push((accepted, soon(accepting).await.unwrap().ok()));
    }
    let [(Some(raw), Some(handle)), (None, None)] = &mut kept[..] else { panic!("{}", kept.len()) };
    let asked = ask(handle, "1");
    raw.expect(HEADERS).await;
    raw.allow("1", "").await;
    assert!(soon(asked).await.unwrap().is_allow());
}
