#if ISCSI
    import BlockStorage
    import IORuntime

    /// A target that a portal knows.
    public struct ISCSIDiscoveredTarget: Equatable, Sendable {
        public var name: String
        /// `ADDRESS:PORT,GROUP`.
        public var portals: [String]
    }

    extension ISCSITarget {
        /// Asks each portal in turn for the targets that it knows, until one answers. The name of this target is not
        /// looked at, nor is what it would prove itself with.
        public func discover(
            deadline: Duration = .seconds(30)
        ) async throws(StorageError) -> [ISCSIDiscoveredTarget] {
            let login = try ISCSILogin(self, deadline: IODeadline(deadline))
            var failure = StorageError(.connectionLost, "discover targets")
            for turn in portals.indices {
                do throws(StorageError) {
                    let found = Locked<[ISCSIDiscoveredTarget]>([])
                    let session = try await login.session(turn, isDiscovery: true) {
                        (session) async throws(StorageError) in
                        let targets = try await session.listTargets()
                        found.withLock { $0 = targets }
                    }
                    await login.end(session)
                    return found.withLock { $0 }
                } catch {
                    failure = error
                }
            }
            throw failure
        }
    }

    extension ISCSISession {
        /// More is not listed, however much a target sends.
        private static let largestListByteCount = 4 << 20

        /// Asks for all targets (RFC 7143, appendix C).
        fileprivate func listTargets() async throws(StorageError) -> [ISCSIDiscoveredTarget] {
            var text: [UInt8] = []
            var question = ISCSIKeys.text(["SendTargets": "All"])
            var targetTag = ISCSIPacket.noTag
            repeat {
                var request = ISCSIRequest(.text, flags: 0x80, dataByteCount: question.count)
                request.put(targetTag, at: 20)
                let answer = try await exchange("discover targets", request, question, answeredBy: .text)
                text += answer.data
                targetTag = answer.packet.targetTag
                // The rest of a long list is asked for by nothing.
                question = []
                guard !answer.data.isEmpty || targetTag == ISCSIPacket.noTag, text.count <= Self.largestListByteCount
                else {
                    throw StorageError(.connectionLost, "discover targets", why: "the target's list does not end")
                }
            } while targetTag != ISCSIPacket.noTag
            var targets: [ISCSIDiscoveredTarget] = []
            for (key, value) in try ISCSIKeys(text).pairs {
                if key == "TargetName" {
                    targets.append(ISCSIDiscoveredTarget(name: String(value), portals: []))
                } else if key == "TargetAddress", let last = targets.indices.last {
                    targets[last].portals.append(String(value))
                }
            }
            return targets
        }
    }
#endif
