#if ISCSI
    import BlockStorage
    import IORuntime

    /// How a session begins (RFC 7143, 6): both sides prove themselves where they are to, and agree on how they talk.
    struct ISCSINegotiation {
        /// What the login has led to.
        enum Result {
            case loggedIn
            /// The target is to be reached there instead.
            case redirected(String)
        }

        let session: ISCSISession
        let target: ISCSITarget
        /// Identifies the session, with the initiator's name: 40 bits.
        let sessionIdentifier: UInt64
        let isDiscovery: Bool

        /// A list of targets is no secret, and the portal may have another's name.
        private var needsProof: Bool { !isDiscovery && target.targetCredentials != nil }

        private enum Stage: UInt8 { case security = 0, operational = 1, fullFeature = 3 }

        /// Of one exchange: all answers but the last say that they are not done.
        private static let largestRoundCount = 16

        private struct Answer {
            var packet: ISCSIPacket
            var keys: ISCSIKeys
        }

        /// How a login ends early.
        private enum End: Error {
            case redirected(String)
            case failed(StorageError)
        }

        /// Throws `authenticationFailed` where either side does not prove itself, `permissionDenied`, `notFound` where
        /// the portal has no such target, `notSupported` where the target refuses what was asked for, and
        /// `connectionLost`.
        func run() async throws(StorageError) -> Result {
            do throws(End) {
                let names =
                    ISCSIKeys.text(["InitiatorName": target.initiatorName])
                    + (isDiscovery ? [] : ISCSIKeys.text(["TargetName": target.name]))
                    + ISCSIKeys.text(["SessionType": isDiscovery ? "Discovery" : "Normal"])
                if let credentials = target.credentials {
                    try await authenticate(credentials, names)
                    try await agree([])
                } else {
                    // Nobody proves anything: one stage will do.
                    try await agree(names)
                }
                return .loggedIn
            } catch {
                switch error {
                case .redirected(let address): return .redirected(address)
                case .failed(let error): throw error
                }
            }
        }

        private func failure(_ why: String, _ code: StorageError.Code = .connectionLost) -> End {
            .failed(StorageError(code, "log in", why: why))
        }

        // MARK: - Proof

        private func authenticate(
            _ credentials: ISCSITarget.Credentials, _ names: [UInt8]
        ) async throws(End) {
            // Whoever wants a proof does not offer to do without one.
            let offer = try await exchange(
                .security, nil, names + ISCSIKeys.text(["AuthMethod": needsProof ? "CHAP" : "CHAP,None"]))
            let method = offer.keys["AuthMethod"] ?? "None"
            if method == "CHAP", !offer.packet.isTransit { return try await handshake(credentials) }
            if needsProof { throw noProof }
            guard method == "None" else { throw failure("the target asks for another proof", .authenticationFailed) }
            if !offer.packet.isTransit { try await finish(.security, .operational, []) }
        }

        private var noProof: End { failure("the target does not prove itself", .authenticationFailed) }

        private func handshake(_ credentials: ISCSITarget.Credentials) async throws(End) {
            let challenge = try await exchange(.security, nil, ISCSIKeys.text(["CHAP_A": CHAP.algorithm]))
            guard !challenge.packet.isTransit, challenge.keys["CHAP_A"] == CHAP.algorithm,
                let identifier = challenge.keys["CHAP_I"].flatMap({ UInt8($0) }),
                let bytes = challenge.keys["CHAP_C"].flatMap(CHAP.bytes)
            else { throw failure("the target makes no challenge that CHAP with MD5 has", .authenticationFailed) }
            var keys = ISCSIKeys.text([
                "CHAP_N": credentials.user,
                "CHAP_R": CHAP.text(try response(identifier, credentials.secret, bytes)),
            ])
            guard needsProof, let expected = target.targetCredentials else {
                return try await finish(.security, .operational, keys)
            }
            let own = (identifier: UInt8.random(in: 0...255), bytes: (0..<32).map { _ in UInt8.random(in: 0...255) })
            keys += ISCSIKeys.text(["CHAP_I": "\(own.identifier)", "CHAP_C": CHAP.text(own.bytes)])
            let proof = try await exchange(.security, .operational, keys)
            // One that reflects the challenge would have the initiator prove the target for it.
            guard own.bytes != bytes, expected.user.isEmpty || proof.keys["CHAP_N"] == expected.user,
                let answer = proof.keys["CHAP_R"].flatMap(CHAP.bytes),
                CHAP.isSame(answer, try response(own.identifier, expected.secret, own.bytes)), proof.packet.isTransit
            else { throw noProof }
        }

        private func response(_ identifier: UInt8, _ secret: Secret, _ challenge: [UInt8]) throws(End) -> [UInt8] {
            do throws(StorageError) {
                return try CHAP.response(identifier, secret, challenge)
            } catch {
                throw .failed(error)
            }
        }

        // MARK: - How to talk

        private func agree(_ names: [UInt8]) async throws(End) {
            let digest = target.headerDigest == .crc32c
            var keys =
                names
                + ISCSIKeys.text([
                    "HeaderDigest": digest ? "CRC32C" : "None", "DataDigest": "None", "ErrorRecoveryLevel": "0",
                    "MaxRecvDataSegmentLength":
                        "\(isDiscovery ? ISCSISession.largestTextByteCount : ISCSISession.largestReceivedByteCount)",
                    "DefaultTime2Wait": "2", "DefaultTime2Retain": "0",
                ])
            if !isDiscovery {
                // What goes unasked, after its command, would wait in vain where the target refuses the command.
                keys += ISCSIKeys.text([
                    "InitialR2T": "Yes", "ImmediateData": "Yes", "MaxBurstLength": "262144",
                    "FirstBurstLength": "262144", "MaxOutstandingR2T": "1", "MaxConnections": "1",
                    "DataPDUInOrder": "Yes", "DataSequenceInOrder": "Yes", "IFMarker": "No", "OFMarker": "No",
                ])
            }
            var hasDigest = false
            try await finish(.operational, .fullFeature, keys) { (answer) throws(End) in
                if let text = answer["HeaderDigest"] { hasDigest = text == "CRC32C" }
                if let text = answer["ImmediateData"] { session.takesImmediateData = text == "Yes" }
                if let text = answer["FirstBurstLength"] {
                    session.firstBurstByteCount = try Self.byteCount(text, atMost: 262144)
                }
                if let text = answer["InitialR2T"], text != "Yes" { throw failure("the target asks for no data") }
            }
            if hasDigest, !digest { throw failure("the target agrees on what it was not offered") }
            if digest, !hasDigest {
                throw failure("the target knows no checksum of headers (header-digest)", .notSupported)
            }
            session.hasDigest = hasDigest
        }

        private static func byteCount(_ text: String, atMost largest: Int) throws(End) -> Int {
            let isHexadecimal = text.lowercased().hasPrefix("0x")
            guard let count = isHexadecimal ? Int(text.dropFirst(2), radix: 16) : Int(text), count >= 512,
                count < 1 << 24
            else {
                throw .failed(StorageError(.connectionLost, "log in", why: "the target takes no data"))
            }
            return min(count, largest)
        }

        // MARK: - Exchanges

        /// Sends keys, and then nothing, until the target goes on to the next stage. `body` gets each answer's keys.
        private func finish(
            _ stage: Stage, _ next: Stage, _ keys: [UInt8], _ body: (ISCSIKeys) throws(End) -> Void = { _ in }
        ) async throws(End) {
            var keys = keys
            for _ in 0..<Self.largestRoundCount {
                let answer = try await exchange(stage, next, keys)
                try body(answer.keys)
                if answer.packet.isTransit { return }
                keys = []
            }
            throw failure("the target does not come to an end")
        }

        /// Sends keys, and returns the answer, whose parts may come in several packets. With `next` the initiator is
        /// done with this stage.
        private func exchange(_ stage: Stage, _ next: Stage?, _ keys: [UInt8]) async throws(End) -> Answer {
            var data: [UInt8] = []
            var keys = keys
            for _ in 0..<Self.largestRoundCount {
                let answer = try await send(stage, data.isEmpty ? next : nil, keys)
                let packet = answer.packet
                data += answer.data
                try check(packet, data)
                let isWhole = !packet.isContinued
                let answered = isWhole ? try self.keys(of: data) : nil
                guard packet.stage == stage.rawValue,
                    !packet.isTransit || isWhole && packet.nextStage == next?.rawValue
                else {
                    throw needsProof && stage == .security
                        ? noProof : failure("the target leaves the order of a login")
                }
                if let answered {
                    if let length = answered["MaxRecvDataSegmentLength"] {
                        session.largestDataByteCount = try Self.byteCount(length, atMost: 1 << 20)
                    }
                    return Answer(packet: packet, keys: answered)
                }
                guard data.count <= ISCSISession.largestTextByteCount else { break }
                keys = []
            }
            throw failure("the target's answer is too long")
        }

        private func keys(of data: [UInt8]) throws(End) -> ISCSIKeys {
            do throws(StorageError) { return try ISCSIKeys(data) } catch { throw .failed(error) }
        }

        private func send(_ stage: Stage, _ next: Stage?, _ keys: [UInt8]) async throws(End) -> ISCSISession.Reply {
            let flags = next.map { 0x80 | $0.rawValue } ?? 0
            var request = ISCSIRequest(
                .login, flags: flags | stage.rawValue << 2, isImmediate: true, dataByteCount: keys.count)
            // A random one (RFC 7143, 11.12.5), which the target knows the session's successor by.
            request.put(UInt8(0x80), at: 8)
            request.put(UInt8(truncatingIfNeeded: sessionIdentifier >> 32), at: 9)
            request.put(UInt32(truncatingIfNeeded: sessionIdentifier), at: 10)
            do throws(StorageError) {
                return try await session.exchange("log in", request, keys, answeredBy: .login)
            } catch {
                throw .failed(error)
            }
        }

        /// What the target says of the login (RFC 7143, 11.13.5).
        private func check(_ packet: ISCSIPacket, _ data: [UInt8]) throws(End) {
            switch packet.code {
            case 0: return
            case 0x0100..<0x0200:
                guard let address = try keys(of: data)["TargetAddress"] else {
                    throw failure("the target is elsewhere, and does not say where")
                }
                throw .redirected(address)
            case 0x0201: throw failure("the target does not accept the user and the secret", .authenticationFailed)
            case 0x0202: throw failure("the target does not admit this initiator", .permissionDenied)
            case 0x0203, 0x0204: throw failure("there is no such target", .notFound)
            default: throw failure("the target refuses the login (status \(String(packet.code, radix: 16)))")
            }
        }
    }
#endif
