//! Generated messages of every type.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dialback::wire::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

pub fn any_of<T: Copy + Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{0,12}", ".{0,8}", "[\"\\\\\u{0}-\u{1f}é☃]{0,6}"]
}

pub fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

pub fn id() -> impl Strategy<Value = CorrelationId> {
    text().prop_map(CorrelationId::from)
}

pub fn body() -> impl Strategy<Value = Body> {
    vec(any::<u8>(), 0..64).prop_map(Body::from)
}

pub fn headers() -> impl Strategy<Value = Headers> {
    vec((text(), text()), 0..5).prop_map(Headers::from_iter)
}

pub fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(text(), inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A value that a reader tells from an absent one: `null` at the top is the same as nothing.
pub fn present() -> impl Strategy<Value = Value> {
    value().prop_filter("null reads as absent", |value| !value.is_null())
}

pub fn metadata() -> impl Strategy<Value = RequestMetadata> {
    let plain = (text(), any::<u16>(), id(), text(), text(), text());
    let optional = vec(option::of(text()), 6);
    (plain, optional).prop_map(|(plain, mut optional)| {
        let (client_ip, client_port, correlation_id, protocol, request_id, timestamp) = plain;
        let mut next = || optional.pop().flatten();
        RequestMetadata {
            client_ip,
            client_port,
            correlation_id,
            protocol,
            request_id,
            timestamp,
            route_id: next(),
            server_name: next(),
            tls_cipher: next(),
            tls_version: next(),
            traceparent: next(),
            upstream_id: next(),
        }
    })
}

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (metadata(), text(), text(), headers()).prop_map(|(metadata, method, uri, headers)| {
            RequestHeaders { metadata, method, uri, headers }.into()
        }),
        (id(), body(), any::<(u64, u32, bool, Option<u64>)>()).prop_map(
            |(correlation_id, data, (bytes_received, chunk_index, is_last, total_size))| {
                RequestBodyChunk { bytes_received, chunk_index, correlation_id, data, is_last, total_size }
                    .into()
            }
        ),
        (id(), headers(), any::<u16>()).prop_map(|(correlation_id, headers, status)| {
            ResponseHeaders { correlation_id, headers, status }.into()
        }),
        (id(), body(), any::<(u64, u32, bool, Option<u64>)>()).prop_map(
            |(correlation_id, data, (bytes_sent, chunk_index, is_last, total_size))| {
                ResponseBodyChunk { bytes_sent, chunk_index, correlation_id, data, is_last, total_size }
                    .into()
            }
        ),
        (id(), any::<[u64; 3]>(), option::of(text()), any::<(u16, u32)>()).prop_map(
            |(
                correlation_id,
                [duration_ms, request_body_size, response_body_size],
                error,
                (status, upstream_attempts),
            )| {
                RequestComplete {
                    correlation_id,
                    duration_ms,
                    error,
                    request_body_size,
                    response_body_size,
                    status,
                    upstream_attempts,
                }
                .into()
            }
        ),
        (text(), any::<(bool, bool, u64)>(), id(), body(), any_of(&WebSocketOpcode::ALL), option::of(text()))
            .prop_map(
                |(
                    client_ip,
                    (client_to_server, fin, frame_index),
                    correlation_id,
                    data,
                    opcode,
                    route_id,
                )| {
                    WebSocketFrame {
                        client_ip,
                        client_to_server,
                        correlation_id,
                        data,
                        fin,
                        frame_index,
                        opcode,
                        route_id,
                    }
                    .into()
                }
            ),
        (
            texts(),
            text(),
            id(),
            any_of(&InspectionType::ALL),
            pairs(),
            option::of(text()),
            option::of(text())
        )
            .prop_map(
                |(categories, content, correlation_id, inspection_type, metadata, model, route_id)| {
                    GuardrailInspect {
                        categories,
                        content,
                        correlation_id,
                        inspection_type,
                        metadata,
                        model,
                        route_id,
                    }
                    .into()
                }
            ),
        (id(), value(), option::of(text())).prop_map(|(correlation_id, config, config_version)| {
            Configure { config, config_version, correlation_id }.into()
        }),
    ]
}

pub fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Allow),
        (any::<u16>(), option::of(text()), option::of(pairs()))
            .prop_map(|(status, body, headers)| Decision::Block { status, body, headers }),
        (text(), any::<u16>()).prop_map(|(url, status)| Decision::Redirect { url, status }),
        (text(), pairs()).prop_map(|(challenge_type, params)| Decision::Challenge { challenge_type, params }),
    ]
}

pub fn ops() -> impl Strategy<Value = Vec<HeaderOp>> {
    let op = prop_oneof![
        (text(), text()).prop_map(|(name, value)| HeaderOp::set(name, value)),
        (text(), text()).prop_map(|(name, value)| HeaderOp::add(name, value)),
        text().prop_map(HeaderOp::remove),
    ];
    vec(op, 0..3)
}

pub fn mutation() -> impl Strategy<Value = Option<BodyMutation>> {
    let mutation =
        (option::of(body()), any::<u32>()).prop_map(|(data, chunk_index)| BodyMutation { data, chunk_index });
    option::of(mutation)
}

pub fn answer() -> impl Strategy<Value = Answer> {
    let audit = (texts(), texts(), option::of(-1.0e6_f32..1.0e6), texts(), btree_map(text(), value(), 0..3))
        .prop_map(|(tags, rule_ids, confidence, reason_codes, custom)| Audit {
            tags,
            rule_ids,
            confidence,
            reason_codes,
            custom,
        });
    let websocket = option::of(prop_oneof![
        Just(WebSocketDecision::Allow),
        Just(WebSocketDecision::Drop),
        (any::<u16>(), text()).prop_map(|(code, reason)| WebSocketDecision::Close { code, reason }),
    ]);
    (any::<u32>(), decision(), ops(), ops(), pairs(), audit, any::<bool>(), mutation(), mutation(), websocket)
        .prop_map(
            |(
                version,
                decision,
                request_headers,
                response_headers,
                routing_metadata,
                audit,
                needs_more,
                request,
                response,
                websocket_decision,
            )| Answer {
                version,
                decision,
                request_headers,
                response_headers,
                routing_metadata,
                audit,
                needs_more,
                request_body_mutation: request,
                response_body_mutation: response,
                websocket_decision,
            },
        )
}

pub fn cancel() -> impl Strategy<Value = Cancel> {
    (id(), any_of(&CancelReason::ALL), any::<(u64, Option<u64>)>()).prop_map(
        |(correlation_id, reason, (timestamp_ms, exchange_id))| Cancel {
            correlation_id,
            exchange_id,
            reason,
            timestamp_ms,
        },
    )
}

pub fn flow() -> impl Strategy<Value = FlowControl> {
    let action = prop_oneof![
        Just(FlowAction::Pause),
        Just(FlowAction::Resume),
        any::<u64>().prop_map(|buffer_available| FlowAction::UpdateCapacity { buffer_available }),
    ];
    (option::of(id()), action, any::<u64>()).prop_map(|(correlation_id, action, timestamp_ms)| FlowControl {
        correlation_id,
        action,
        timestamp_ms,
    })
}

pub fn health() -> impl Strategy<Value = HealthStatus> {
    // Only what is written: the detail of a state is not.
    let state = prop_oneof![
        Just(HealthState::Healthy),
        Just(HealthState::Degraded { disabled_features: Vec::new(), timeout_multiplier: 1.0 }),
        Just(HealthState::Draining { eta_ms: None }),
        Just(HealthState::Unhealthy { reason: String::new(), recoverable: true }),
    ];
    let load =
        (any::<[u32; 2]>(), any::<[u16; 4]>(), any::<[u64; 3]>()).prop_map(|(small, latency, large)| {
            LoadMetrics {
                in_flight: small[0],
                queue_depth: small[1],
                avg_latency_ms: latency[0].into(),
                p50_latency_ms: latency[1].into(),
                p95_latency_ms: latency[2].into(),
                p99_latency_ms: latency[3].into(),
                requests_processed: large[0],
                requests_rejected: large[1],
                requests_timed_out: large[2],
            }
        });
    let resources = (option::of(0.0..100.0_f32), any::<[Option<u64>; 2]>(), any::<[Option<u32>; 4]>())
        .prop_map(|(cpu_percent, memory, counts)| ResourceMetrics {
            cpu_percent,
            memory_bytes: memory[0],
            memory_limit: memory[1],
            active_threads: counts[0],
            open_fds: counts[1],
            fd_limit: counts[2],
            connections: counts[3],
        });
    (text(), state, option::of(text()), option::of(load), option::of(resources), any::<(Option<u64>, u64)>())
        .prop_map(|(agent_id, state, message, load, resources, (valid_until_ms, timestamp_ms))| {
            HealthStatus { agent_id, state, message, load, resources, valid_until_ms, timestamp_ms }
        })
}

pub fn metrics() -> impl Strategy<Value = MetricsReport> {
    // Eighths: the JSON reader may be off by the last bit of a longer fraction.
    let number = any::<i32>().prop_map(|eighths| f64::from(eighths) / 8.0);
    let counter = (text(), option::of(text()), pairs(), any::<u64>())
        .prop_map(|(name, help, labels, value)| CounterMetric { name, help, labels, value });
    let gauge = (text(), option::of(text()), pairs(), number.clone())
        .prop_map(|(name, help, labels, value)| GaugeMetric { name, help, labels, value });
    let bound = prop_oneof![number.clone(), Just(f64::INFINITY), Just(f64::NEG_INFINITY)];
    let bucket = (bound, any::<u64>()).prop_map(|(le, count)| HistogramBucket { le, count });
    let histogram = (text(), option::of(text()), pairs(), number, any::<u64>(), vec(bucket, 0..3)).prop_map(
        |(name, help, labels, sum, count, buckets)| HistogramMetric {
            name,
            help,
            labels,
            sum,
            count,
            buckets,
        },
    );
    (text(), any::<[u64; 2]>(), vec(counter, 0..2), vec(gauge, 0..2), vec(histogram, 0..2)).prop_map(
        |(agent_id, [timestamp_ms, interval_ms], counters, gauges, histograms)| MetricsReport {
            agent_id,
            timestamp_ms,
            interval_ms,
            counters,
            gauges,
            histograms,
        },
    )
}

pub fn wish() -> impl Strategy<Value = ConfigUpdateRequest> {
    let rule = (text(), any::<i32>(), value(), any::<bool>(), option::of(text()), texts()).prop_map(
        |(id, priority, definition, enabled, description, tags)| RuleDefinition {
            id,
            priority,
            definition,
            enabled,
            description,
            tags,
        },
    );
    let update = prop_oneof![
        Just(ConfigUpdateType::RequestReload),
        (text(), vec(rule, 0..2), texts()).prop_map(|(rule_set, rules, remove_rules)| {
            ConfigUpdateType::RuleUpdate { rule_set, rules, remove_rules }
        }),
        (text(), texts(), texts()).prop_map(|(list_id, add, remove)| ConfigUpdateType::ListUpdate {
            list_id,
            add,
            remove
        }),
        (text(), any::<u64>()).prop_map(|(reason, grace_period_ms)| ConfigUpdateType::RestartRequired {
            reason,
            grace_period_ms
        }),
        (text(), option::of(text()))
            .prop_map(|(error, field)| ConfigUpdateType::ConfigError { error, field }),
    ];
    (update, text(), any::<u64>()).prop_map(|(update_type, request_id, timestamp_ms)| ConfigUpdateRequest {
        update_type,
        request_id,
        timestamp_ms,
    })
}

pub fn capabilities() -> impl Strategy<Value = Capabilities> {
    let features =
        any::<([bool; 9], u32)>().prop_map(|([a, b, c, d, e, f, g, h, i], concurrent_requests)| Features {
            streaming_body: a,
            websocket: b,
            guardrails: c,
            config_push: d,
            metrics_export: e,
            concurrent_requests,
            cancellation: f,
            flow_control: g,
            health_reporting: h,
            exchange_ids: i,
        });
    let limits =
        any::<(u64, u32, u64)>().prop_map(|(max_body_size, max_concurrency, preferred_chunk_size)| Limits {
            max_body_size,
            max_concurrency,
            preferred_chunk_size,
        });
    (text(), text(), text(), vec(any::<i32>(), 0..9), features, limits).prop_map(
        |(agent_id, name, version, supported_events, features, limits)| Capabilities {
            agent_id,
            name,
            version,
            supported_events,
            features,
            limits,
        },
    )
}

pub fn encodings() -> impl Strategy<Value = Vec<Encoding>> {
    vec(any_of(&Encoding::ALL), 0..3)
}

pub fn registration() -> impl Strategy<Value = Registration> {
    (
        any::<u32>(),
        text(),
        capabilities(),
        option::of(text().prop_map(Token::from)),
        option::of(present()),
        encodings(),
    )
        .prop_map(
            |(protocol_version, agent_id, capabilities, auth_token, metadata, supported_encodings)| {
                Registration {
                    protocol_version,
                    agent_id,
                    capabilities,
                    auth_token,
                    metadata,
                    supported_encodings,
                }
            },
        )
}

pub fn registration_response() -> impl Strategy<Value = RegistrationResponse> {
    (
        any::<bool>(),
        option::of(text()),
        text(),
        text(),
        text(),
        any::<Option<u64>>(),
        option::of(any_of(&Encoding::ALL)),
    )
        .prop_map(
            |(success, error, proxy_id, proxy_version, connection_id, retry_after_ms, encoding)| {
                RegistrationResponse {
                    success,
                    error,
                    proxy_id,
                    proxy_version,
                    connection_id,
                    retry_after_ms,
                    encoding,
                }
            },
        )
}

pub fn forward_request() -> impl Strategy<Value = ForwardRequest> {
    (vec(any::<u32>(), 0..3), text(), text(), option::of(present()), encodings()).prop_map(
        |(supported_versions, proxy_id, proxy_version, config, supported_encodings)| ForwardRequest {
            supported_versions,
            proxy_id,
            proxy_version,
            config,
            supported_encodings,
        },
    )
}

pub fn forward_response() -> impl Strategy<Value = ForwardResponse> {
    (any::<u32>(), capabilities(), any::<bool>(), option::of(text()), any_of(&Encoding::ALL)).prop_map(
        |(protocol_version, capabilities, success, error, encoding)| ForwardResponse {
            protocol_version,
            capabilities,
            success,
            error,
            encoding,
        },
    )
}
