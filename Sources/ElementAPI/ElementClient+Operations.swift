#if ISCSI
    import BlockStorage

    /// What the array says of an asynchronous operation.
    enum ElementOperation: Equatable, Sendable {
        case running
        /// The volume that it was about, where it was about one.
        case complete(volumeID: Int64?)
        /// The array knows nothing of it, any more.
        case unknown
    }

    extension ElementClient {
        private struct Answer: Decodable, Sendable {
            struct Outcome: Decodable, Sendable {
                var volumeID: Int64?
                /// Of a failure.
                var name: String?
                var message: String?
            }

            var status: String
            var result: Outcome?
            var error: ElementRefusal?
        }

        /// Asks once, and leaves the result where it is: an answer that is lost can be asked for again.
        ///
        /// Throws what went wrong with an operation that failed.
        func asyncResult(_ handle: Int64) async throws(StorageError) -> ElementOperation {
            let method = "GetAsyncResult"
            let parameters: ElementParameters = ["asyncHandle": .integer(handle), "keepResult": .flag(true)]
            let answer: Answer
            do throws(ElementCallFailure) {
                // Of everything that passes elsewhere, here a missing path says that the operation is not known.
                answer = try await callUntilRefused(method, parameters, isFinal: \.saysNoSuchHandle)
            } catch {
                if case .refused(let refusal) = error, refusal.saysNoSuchHandle { return .unknown }
                throw storageError(error, method, at: "handle \(handle)", parameters)
            }
            func failed(_ refusal: ElementRefusal) -> StorageError {
                storageError(.refused(refusal), method, at: "handle \(handle)", parameters)
            }
            if let error = answer.error { throw failed(error) }
            switch answer.status.lowercased() {
            case "running": return .running
            case "complete": return .complete(volumeID: answer.result?.volumeID)
            case "error":
                throw failed(
                    ElementRefusal(
                        name: answer.result?.name ?? "error", message: answer.result?.message ?? "the operation failed")
                )
            default:
                throw failure(.inputOutput, method, "the operation's status is no known one")
            }
        }
    }
#endif
