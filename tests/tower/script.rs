//! An agent that answers as a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use dialback::net::{Context, Handler};
use dialback::wire::{
    Answer, CancelReason, Event, EventKind, RequestBodyChunk, RequestComplete, RequestHeaders,
    ResponseBodyChunk, ResponseHeaders,
};

/// What a test says to an event.
pub enum Reply {
    Now(Box<Answer>),
    /// Waits until nobody does, and notes why.
    Never,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Now(Box::new(answer))
    }
}

type Answering = Box<dyn Fn(&Event) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct Script {
    answer: Arc<Answering>,
    pub log: Log,
}

/// What an agent was asked and told.
#[derive(Clone, Default)]
pub struct Log {
    pub events: Arc<Mutex<Vec<Event>>>,
    pub cancelled: Arc<Mutex<Vec<CancelReason>>>,
}

impl Log {
    pub fn kinds(&self) -> Vec<EventKind> {
        self.events.lock().unwrap().iter().map(Event::kind).collect()
    }

    pub fn request_headers(&self) -> RequestHeaders {
        let find =
            |event: &Event| if let Event::RequestHeaders(event) = event { Some(event.clone()) } else { None };
        self.events.lock().unwrap().iter().find_map(find).unwrap()
    }

    pub fn request_pieces(&self) -> Vec<RequestBodyChunk> {
        let pick = |event: &Event| {
            if let Event::RequestBodyChunk(event) = event { Some(event.clone()) } else { None }
        };
        self.events.lock().unwrap().iter().filter_map(pick).collect()
    }

    pub fn response_pieces(&self) -> Vec<ResponseBodyChunk> {
        let pick = |event: &Event| {
            if let Event::ResponseBodyChunk(event) = event { Some(event.clone()) } else { None }
        };
        self.events.lock().unwrap().iter().filter_map(pick).collect()
    }

    pub fn completions(&self) -> Vec<RequestComplete> {
        let pick = |event: &Event| {
            if let Event::RequestComplete(event) = event { Some(event.clone()) } else { None }
        };
        self.events.lock().unwrap().iter().filter_map(pick).collect()
    }
}

impl Script {
    pub fn new<R: Into<Reply>>(answer: impl Fn(&Event) -> R + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(Box::new(move |event| answer(event).into())), log: Log::default() }
    }

    /// Answers nothing to requests for that path, and allows all others.
    pub fn never_on_path(path: &'static str) -> Self {
        Self::new(move |event| {
            let never = matches!(event, Event::RequestHeaders(event) if event.uri == path);
            if never { Reply::Never } else { Answer::allow().into() }
        })
    }

    async fn handle(&self, event: impl Into<Event>, cx: Context) -> Answer {
        let event = event.into();
        let reply = (self.answer)(&event);
        self.log.events.lock().unwrap().push(event);
        match reply {
            Reply::Now(answer) => *answer,
            Reply::Never => {
                let reason = cx.cancelled().await;
                self.log.cancelled.lock().unwrap().push(reason);
                Answer::allow()
            }
        }
    }
}

impl Handler for Script {
    async fn on_request_headers(&self, event: RequestHeaders, cx: Context) -> Answer {
        self.handle(event, cx).await
    }
    async fn on_request_body_chunk(&self, event: RequestBodyChunk, cx: Context) -> Answer {
        self.handle(event, cx).await
    }
    async fn on_response_headers(&self, event: ResponseHeaders, cx: Context) -> Answer {
        self.handle(event, cx).await
    }
    async fn on_response_body_chunk(&self, event: ResponseBodyChunk, cx: Context) -> Answer {
        self.handle(event, cx).await
    }
    async fn on_request_complete(&self, event: RequestComplete, cx: Context) -> Answer {
        self.handle(event, cx).await
    }
}
