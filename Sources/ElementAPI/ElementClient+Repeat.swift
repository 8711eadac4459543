#if ISCSI
    import BlockStorage

    /// Requests that are sent until one succeeds, within bounds.
    extension ElementClient {
        /// Calls a method that may be repeated without harm: it reads, or sets what it names.
        ///
        /// `place` is for messages.
        func call<Result: Decodable & Sendable>(
            _ method: String, at place: String = "", _ parameters: ElementParameters = [:],
            within time: Duration? = nil
        ) async throws(StorageError) -> Result {
            do throws(ElementCallFailure) {
                return try await callUntilRefused(method, parameters, within: time)
            } catch {
                throw storageError(error, method, at: place, parameters)
            }
        }

        /// As `call`, and what the array refuses remains to be judged.
        func callUntilRefused<Result: Decodable & Sendable>(
            _ method: String, _ parameters: ElementParameters = [:], within time: Duration? = nil,
            isFinal: (ElementRefusal) -> Bool = { _ in false }
        ) async throws(ElementCallFailure) -> Result {
            var attempts = attempts(within: time)
            while true {
                do throws(ElementCallFailure) {
                    return try await ask(method, parameters, within: attempts.remaining)
                } catch {
                    if case .refused(let refusal) = error, isFinal(refusal) { throw error }
                    guard error.passes, await attempts.pause() else { throw error }
                }
            }
        }

        /// Calls a method that makes something, once in effect, and returns its number.
        ///
        /// While it is not known whether the array did it, `find` looks for it before the request is sent again, in the time
        /// that it is given. When an earlier one came late there are several: the one with the lowest number stays, and
        /// `discard` removes the others.
        func make<Answer: ElementMade>(
            _ method: String, at place: String, _ parameters: ElementParameters,
            find: (Duration) async throws(StorageError) -> [Int64],
            discard: (Int64) async throws(StorageError) -> Void
        ) async throws(StorageError) -> (id: Int64, answer: Answer?) {
            var attempts = attempts()
            var wasRepeated = false
            while true {
                switch await attempt(Answer.self, method, parameters, within: attempts.remaining) {
                case .success(let answer):
                    guard wasRepeated else { return (answer.madeID, answer) }
                    let all = try await find(options.requestTime) + [answer.madeID]
                    let id = try await onlyOne(of: all, discard)
                    return (id, id == answer.madeID ? answer : nil)
                case .failure(let failure):
                    let error = storageError(failure, method, at: place, parameters)
                    guard failure.mayBeDone else { throw error }
                    if let id = try await lookUp(&attempts, or: error, find, discard) { return (id, nil) }
                    guard failure.passes else { throw error }
                    wasRepeated = true
                }
            }
        }

        private func attempt<Result: Decodable & Sendable>(
            _ type: Result.Type, _ method: String, _ parameters: ElementParameters, within time: Duration
        ) async -> Swift.Result<Result, ElementCallFailure> {
            do throws(ElementCallFailure) {
                return .success(try await ask(method, parameters, within: time))
            } catch {
                return .failure(error)
            }
        }

        /// Looks for what may have been made, after a pause in which it may still come. Nil where it is not there and the
        /// request may be sent again; throws `error` where it may not, or where nothing can be seen any more.
        private func lookUp(
            _ attempts: inout ElementAttempts, or error: StorageError,
            _ find: (Duration) async throws(StorageError) -> [Int64],
            _ discard: (Int64) async throws(StorageError) -> Void
        ) async throws(StorageError) -> Int64? {
            while true {
                let mayRepeat = await attempts.pause()
                if Task.isCancelled { throw error }
                if let all = try? await find(mayRepeat ? attempts.remaining : options.requestTime) {
                    if !all.isEmpty { return try await onlyOne(of: all, discard) }
                    if mayRepeat { return nil }
                }
                guard mayRepeat else { throw error }
            }
        }

        private func onlyOne(
            of ids: [Int64], _ discard: (Int64) async throws(StorageError) -> Void
        ) async throws(StorageError) -> Int64 {
            let sorted = Set(ids).sorted()
            for id in sorted.dropFirst() { try await discard(id) }
            return sorted[0]
        }

        /// What a failure means to the caller.
        func storageError(
            _ failure: ElementCallFailure, _ method: String, at place: String, _ parameters: ElementParameters
        ) -> StorageError {
            let location = place.isEmpty ? endpoint.description : "\(endpoint)/\(place)"
            switch failure {
            case .failed(let error), .tooLarge(let error):
                return StorageError(error.code, method, at: location, why: error.why)
            case .refused(let refusal):
                var secrets = [endpoint.password]
                for case .secret(let secret) in parameters.values { secrets.append(secret) }
                return refusal.error(method, at: location, hiding: secrets)
            }
        }
    }

    /// The answer to a request that made something.
    protocol ElementMade: Decodable, Sendable {
        var madeID: Int64 { get }
    }
#endif
