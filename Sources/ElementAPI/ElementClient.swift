#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import NIOFoundationCompat

    /// Manages a NetApp Element (SolidFire) array, through the JSON-RPC methods of its management address.
    ///
    /// Every call ends: each has a deadline, each answer a largest size, and what fails in a way that passes is tried
    /// again, a few times. A request that makes something and whose answer was lost is looked for before it is sent again.
    /// Errors are `StorageError`s: `authenticationFailed` for a wrong password or certificate, `timedOut` and
    /// `connectionLost` where it is not known what the array did, `inputOutput` for an answer that is none, and for what the
    /// array refuses the code that its error's name stands for. The password and the secrets of accounts stand in none.
    public final class ElementClient: Sendable {
        public let endpoint: ElementEndpoint
        public let options: ElementOptions
        private let http: ElementHTTP
        private let clock: any Clock<Duration>
        private let state = Locked(State())

        private struct State {
            var version: ElementVersion?
            var lastID: Int64 = 0
        }

        /// Connects to nothing yet. `clock` is what pauses and deadlines are measured with.
        ///
        /// Throws `invalidArgument` where the file of authorities is none.
        public init(
            _ endpoint: ElementEndpoint, options: ElementOptions = ElementOptions(),
            clock: any Clock<Duration> = ContinuousClock()
        ) throws(StorageError) {
            (self.endpoint, self.options, self.clock) = (endpoint, options, clock)
            http = try ElementHTTP(endpoint, options)
        }

        func attempts(within time: Duration? = nil) -> ElementAttempts {
            ElementAttempts(options, on: clock, within: min(time ?? options.deadline, options.deadline))
        }

        func stopwatch() -> Stopwatch { clock.startStopwatch() }

        /// Throws `cancelled` when the task is.
        func pause(_ time: Duration, _ what: String) async throws(StorageError) {
            do {
                try await clock.sleep(for: time)
            } catch {
                throw failure(.cancelled, what, "")
            }
        }

        // MARK: One request

        /// Calls a method once, with the version of the interface that suits the array.
        func ask<Result: Decodable & Sendable>(
            _ method: String, _ parameters: ElementParameters = [:], within time: Duration
        ) async throws(ElementCallFailure) -> Result {
            let version = try await version(within: time)
            do throws(ElementCallFailure) {
                return try await exchange(method, parameters, version, within: time)
            } catch {
                // Another version of the software runs there now: the next request asks which.
                switch error {
                case .refused(let refusal) where refusal.isOne(of: ["xunknownapiversion"]):
                    state.withLock { $0.version = nil }
                case .failed(let error) where error.code == .notSupported: state.withLock { $0.version = nil }
                default: break
                }
                throw error
            }
        }

        private func version(within time: Duration) async throws(ElementCallFailure) -> ElementVersion {
            if let version = state.withLock({ $0.version }) { return version }
            let answer: ElementVersions = try await exchange("GetAPI", [:], .first, within: time)
            guard let version = ElementVersion.best(of: answer.supportedVersions) else {
                throw .failed(
                    failure(
                        .notSupported, "GetAPI",
                        "it has no version of its interface from \(ElementVersion.oldest) to \(ElementVersion.newest)"))
            }
            state.withLock { $0.version = version }
            return version
        }

        @concurrent
        private func exchange<Result: Decodable & Sendable>(
            _ method: String, _ parameters: ElementParameters, _ version: ElementVersion, within time: Duration
        ) async throws(ElementCallFailure) -> Result {
            let id = state.withLock { state in
                state.lastID &+= 1
                return state.lastID
            }
            let answer: ElementAnswer<Result> = try await read(method, parameters, version, id, within: time)
            if let refusal = answer.error, answer.id == nil || answer.id == id { throw .refused(refusal) }
            guard answer.id == id else { throw .failed(failure(.inputOutput, method, "it answers another request")) }
            guard let result = answer.result else {
                throw .failed(failure(.inputOutput, method, "the answer has neither a result nor an error"))
            }
            return result
        }

        private func read<Result: Decodable>(
            _ method: String, _ parameters: ElementParameters, _ version: ElementVersion, _ id: Int64,
            within time: Duration
        ) async throws(ElementCallFailure) -> ElementAnswer<Result> {
            let request = ElementRequest(method: method, params: parameters, id: id)
            guard let body = try? JSONEncoder.element.encode(request) else {
                throw .failed(failure(.invalidArgument, method, "a parameter is no JSON"))
            }
            options.observer?(method)
            let answer: ElementHTTP.Answer
            do throws(StorageError) {
                answer = try await http.post(body, to: version.path, within: min(time, options.requestTime))
                try checkStatus(answer.status, method)
            } catch {
                throw .failed(error)
            }
            guard let text = answer.body else {
                throw .tooLarge(
                    failure(.inputOutput, method, "the answer has more than \(options.largestAnswer) bytes"))
            }
            guard let decoded = try? JSONDecoder().decode(ElementAnswer<Result>.self, from: Data(buffer: text))
            else { throw .failed(failure(of: answer, method)) }
            return decoded
        }

        /// Throws for what is decided by the status alone, whatever the body says.
        private func checkStatus(_ status: Int, _ method: String) throws(StorageError) {
            switch status {
            case 401: throw failure(.authenticationFailed, method, "the array does not take the user and the password")
            case 403: throw failure(.permissionDenied, method, "the array does not let the user do this")
            case 300..<400:
                throw failure(.notSupported, method, "it redirects, and the password must not go elsewhere")
            default: break
            }
        }

        /// What an answer means whose body is not what the method answers.
        private func failure(of answer: ElementHTTP.Answer, _ method: String) -> StorageError {
            switch answer.status {
            case 200..<300: failure(.inputOutput, method, "the answer is not what \(method) answers")
            case 404: failure(.notSupported, method, "there is no Element interface of that version")
            case 408, 504: failure(.timedOut, method, "the server answers \(answer.status)")
            case 429, 503: failure(.busy, method, "the server answers \(answer.status)")
            default: failure(.inputOutput, method, "the server answers \(answer.status)")
            }
        }

        func failure(_ code: StorageError.Code, _ what: String, _ why: String) -> StorageError {
            StorageError(code, what, at: endpoint.description, why: why)
        }
    }

    extension ElementClient: CustomReflectable {
        /// Nothing of the connections, whose buffers hold what was sent.
        public var customMirror: Mirror { Mirror(self, children: ["endpoint": endpoint]) }
    }
#endif
